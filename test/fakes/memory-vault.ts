import type { Vault, VaultContent } from '#server/key-server/store/vault/vault.js';

/** A vault that forgets when the test ends. */
export class MemoryVault implements Vault {
  readonly id: Uint8Array;
  content: VaultContent;
  readonly slots: (Uint8Array | undefined)[];

  constructor(id: Uint8Array, content: VaultContent, slots: (Uint8Array | undefined)[] = []) {
    this.id = id;
    this.content = content;
    this.slots = slots;
  }

  /** The same as it is now, for another life. */
  copy(): MemoryVault {
    return new MemoryVault(this.id, this.content, [...this.slots]);
  }

  async update(
    change: (content: VaultContent) => VaultContent | Promise<VaultContent>,
  ): Promise<void> {
    this.content = await change(this.content);
  }

  async reserve(count: number, seal: (ref: number) => Uint8Array): Promise<number> {
    return this.reserveSync(count, seal);
  }

  reserveSync(count: number, seal: (ref: number) => Uint8Array): number {
    const first = this.slots.length;
    for (let i = 0; i < count; i++) this.slots.push(seal(first + i));
    return first;
  }

  read(ref: number): Uint8Array | undefined {
    return this.slots[ref]?.slice();
  }

  async destroy(refs: readonly number[]): Promise<void> {
    for (const ref of refs) this.slots[ref] = undefined;
  }

  async release(refs: readonly number[]): Promise<void> {
    await this.destroy(refs);
  }

  async copyTo(): Promise<void> {}

  async close(): Promise<void> {}
}
