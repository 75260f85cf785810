import { encodings } from './encodings.js';
import { hardware } from './hardware.js';
import { messages } from './messages.js';
import type { HostileParser } from './parser.js';

/** Every parser that reads what nobody vouches for yet; `npm run fuzz -- --list` names them. */
export const hostileParsers: readonly HostileParser[] = [...encodings, ...hardware, ...messages];
