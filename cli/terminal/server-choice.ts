import { CvmpError } from '#core/errors.js';
import type { Profile } from '../profile/profile.js';

/** Of commands that speak to either server. */
export const serverOption = {
  server: {
    type: 'string',
    value: 'SERVER',
    summary: 'key-server or platform; both that the profile names unless told.',
  },
} as const;

/** @throws CvmpError USAGE */
export function serverChoice(
  typed: string | undefined,
  profile: Profile,
): readonly ('key_server' | 'platform')[] {
  if (typed === undefined) {
    const named = profile.keyServer === undefined ? [] : (['key_server'] as const);
    return profile.platform === undefined ? named : [...named, 'platform'];
  }
  if (typed === 'key-server') return ['key_server'];
  if (typed === 'platform') return ['platform'];
  throw new CvmpError('USAGE', `--server is key-server or platform, not ${typed}`);
}
