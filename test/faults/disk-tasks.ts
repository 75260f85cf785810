import { fromHex, toHex } from '#core/bytes.js';
import type { World } from './operations.js';

/** What a disk can do, as disk-shim.c numbers it. */
export const kinds = {
  count: 0,
  /** The process ends: nothing from this step on. */
  lost: 1,
  /** The same, in the middle of a write. */
  torn: 2,
  /** ENOSPC. */
  full: 3,
  /** EIO of fsync and fdatasync, which alone are counted. */
  unsync: 4,
  /** EROFS. */
  frozen: 5,
  /** SIGKILL, in the middle of a write. */
  kill: 6,
} as const;

export interface Task {
  readonly kind: keyof typeof kinds;
  /** The step it begins at, from 1. */
  readonly at: number;
}

/** What became of a task. */
export interface Report extends Task {
  /** How the operations ended: "all answered" or a code. */
  readonly end: string;
  /** Operations that were answered before that. */
  readonly answered: number;
  /** What became of it with a good disk: "served" or a code. */
  readonly reopened: string;
  readonly problems: readonly string[];
}

/** Bytes as "hex:..." and maps as lists, for a process of its own. */
export function worldToJson(world: World): string {
  return JSON.stringify(world, (_, value: unknown) => {
    if (value instanceof Uint8Array) return `hex:${toHex(value)}`;
    return value instanceof Map ? { entries: [...value] } : value;
  });
}

export function worldFromJson(text: string): World {
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value === 'string' && value.startsWith('hex:')) return fromHex(value.slice(4));
    const isMap = typeof value === 'object' && value !== null && Object.hasOwn(value, 'entries');
    return isMap ? new Map((value as { entries: [unknown, unknown][] }).entries) : value;
  }) as World;
}
