import type { ErrorCode } from '#core/errors.js';

/** Why a server does not serve now, by the codes that calls would be refused with. */
export class Readiness {
  readonly #reasons = new Set<ErrorCode>();
  readonly #listeners = new Set<(isReady: boolean) => void>();

  get isReady(): boolean {
    return this.#reasons.size === 0;
  }

  /** In the order in which they came up. */
  get reasons(): readonly ErrorCode[] {
    return [...this.#reasons];
  }

  /** Not ready while `holds`: SEALED, STORE_WRITE. Told again, it changes nothing. */
  set(code: ErrorCode, holds: boolean): void {
    const before = this.isReady;
    if (holds) this.#reasons.add(code);
    else this.#reasons.delete(code);
    if (before === this.isReady) return;
    for (const listener of this.#listeners) listener(this.isReady);
  }

  onChange(listener: (isReady: boolean) => void): void {
    this.#listeners.add(listener);
  }
}
