import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { AgentConfig } from '../config.js';
import type { Disk } from '../disk/disk.js';
import { errorFields, type Logger, logField } from '../log.js';
import { checkGrant } from '../session/grant.js';
import type { KeySession } from '../session/key-session.js';
import type { StatusBoard } from '../status.js';
import { type DiskAction, type ObtainedKey, obtainKey } from './obtain.js';
import { rekey } from './rekey.js';

export interface ExchangeOptions {
  readonly config: Pick<AgentConfig, 'purpose' | 'rekey'>;
  /** To allocate from or, without a disk, to acquire. */
  readonly keyId: Uint8Array | undefined;
  readonly configDocument: Uint8Array;
  /** Undefined where the agent keeps no disk. */
  readonly disk: Disk | undefined;
  /** Of the allocation; the same for all attempts of this boot. */
  readonly requestId: Uint8Array;
  readonly connect: () => Promise<KeySession>;
  readonly status: StatusBoard;
  readonly log: Logger;
}

/** The key in use after an exchange. The receiver zeroises `key`. */
export interface KeyInUse {
  readonly keyId: Uint8Array;
  readonly key: Uint8Array;
  readonly svn: number;
  readonly svnFloor: number;
  readonly action: DiskAction;
  /** End of the lease, milliseconds since 1970. */
  readonly leaseExpires: number;
  /** Over which it was obtained; open. The receiver closes it. */
  readonly session: KeySession;
}

/**
 * One session with the Key Server, from the handshake to the confirmed key: attest, hold the grant
 * against the config document, then {@link exchangeOver}.
 * @throws CvmpError
 */
export async function exchange(options: ExchangeOptions): Promise<KeyInUse> {
  const { status } = options;
  status.enter('attesting');
  const session = await options.connect();
  try {
    await checkGrant(session.grant, options.configDocument);
    return await exchangeOver(options, session);
  } catch (error) {
    session.close();
    throw error;
  }
}

/**
 * Obtains the key and opens the disk with it, confirms, re-keys where that is advised. It can be
 * repeated at any time; the second time it finds the first one's work done.
 * @param session whose grant was held against the config document
 * @throws CvmpError
 */
export async function exchangeOver(
  options: ExchangeOptions,
  session: KeySession,
): Promise<KeyInUse> {
  const { disk, log, keyId, requestId } = options;
  const { level, simulated } = session.grant;
  log.info({ [logField.level]: level, [logField.simulated]: simulated }, 'attested');
  const request = { keyId, requestId, purpose: options.config.purpose };
  const obtained = await obtainKey(disk, session, request);
  try {
    noteObtained(options, obtained, level);
    await session.confirm(obtained.released);
    return await rekeyIfAdvised(options, session, obtained);
  } catch (error) {
    obtained.released.key.fill(0);
    throw error;
  }
}

function noteObtained(
  { status, log }: ExchangeOptions,
  obtained: ObtainedKey,
  level: number,
): void {
  const { released, action } = obtained;
  const { keyId, svn, svnFloor } = released;
  status.enter('key released', { keyId, svn, svnFloor, level, diskAction: action });
  const fields = {
    [logField.keyId]: toHex(keyId),
    [logField.svn]: svn,
    [logField.svnFloor]: svnFloor,
    [logField.diskAction]: action,
  };
  log.info(fields, 'key obtained');
}

/**
 * A re-key that does not come off is no reason to keep the disk shut: the key that opened it still
 * does, and the next boot tries again.
 */
async function rekeyIfAdvised(
  { config, disk, log }: ExchangeOptions,
  session: KeySession,
  { released, slot, action, rekeyTo }: ObtainedKey,
): Promise<KeyInUse> {
  const { leaseExpires } = session.grant;
  const asObtained: KeyInUse = { ...released, action, leaseExpires, session };
  if (disk === undefined || slot === undefined || rekeyTo === undefined) return asObtained;
  if (config.rekey === 'advise') {
    log.warn({ [logField.svn]: rekeyTo }, 're-key advised');
    return asObtained;
  }
  try {
    const opened = { slot, key: released.key };
    const job = { disk, opened, target: rekeyTo, session };
    const done = await rekey({
      ...job,
      after: (step) => log.info({ [logField.step]: step }, 're-key step done'),
    });
    if (done === undefined) {
      log.warn('re-key advised, but the Key Server has no newer key: the tenant must rotate it');
      return asObtained;
    }
    if (done.unfinished !== undefined) log.warn(errorFields(done.unfinished), 're-key unfinished');
    released.key.fill(0);
    const { token } = done.opened.slot;
    return {
      keyId: token.keyId,
      key: done.opened.key,
      svn: token.svn,
      svnFloor: Math.max(released.svnFloor, rekeyTo),
      action: 'rekeyed',
      leaseExpires,
      session,
    };
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    log.warn(errorFields(error), 're-key failed');
    return asObtained;
  }
}
