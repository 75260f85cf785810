import type { Claims } from '../rats/claims.js';
import type { PlatformClaims } from './platform.js';
import type { RealmClaims } from './realm.js';

/** What a verified CCA token asserts. */
export interface CcaClaims extends Claims {
  readonly format: 'cca';
  readonly platform: PlatformClaims;
  readonly realm: RealmClaims;
  /** Who endorsed the platform's key. */
  readonly endorser: string;
}
