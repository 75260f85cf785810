import { CvmpError } from '../errors.js';

/** @throws CvmpError SIZE where a frame is longer than `bytesMax`, before anything reads it */
export function demandSize(frame: Uint8Array, bytesMax: number, field: string): void {
  if (frame.length > bytesMax) {
    const what = `${field} has ${frame.length} bytes, at most ${bytesMax} are allowed`;
    throw new CvmpError('SIZE', what, { field });
  }
}

/** @throws CvmpError SIZE */
export function demandLength(value: Uint8Array, length: number, field: string): void {
  if (value.length !== length) {
    throw new CvmpError('SIZE', `${field} has ${value.length} bytes, not ${length}`, { field });
  }
}
