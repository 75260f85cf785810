import { CvmpError } from '#core/errors.js';
import type { CommandContext } from '../command.js';
import type { KeyServerEntry, Profile } from '../profile/profile.js';

/** The Key Server of the profile, by whose identity key its log is judged. @throws CvmpError CONFIG */
export async function keyServerOf(
  context: CommandContext,
): Promise<{ readonly profile: Profile; readonly keyServer: KeyServerEntry }> {
  const profile = await context.profile();
  const { keyServer } = profile;
  if (keyServer === undefined) {
    const why = `${profile.file} names no key_server`;
    throw new CvmpError('CONFIG', why, { field: 'key_server' });
  }
  return { profile, keyServer };
}
