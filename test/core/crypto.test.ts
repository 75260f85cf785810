import { crypto as browser } from '#core/crypto.browser.js';
import { crypto as node } from '#core/crypto.node.js';
import { cryptoContract } from '../contracts/crypto.js';

cryptoContract('crypto.node', node, browser);
cryptoContract('crypto.browser', browser, node);
