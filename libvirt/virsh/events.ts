/** Something that happened to a domain, as `virsh event --all` prints it. */
export interface DomainEvent {
  /** `lifecycle`, `reboot`, `job-completed`, `migration-iteration` ... */
  readonly kind: string;
  readonly domain: string;
  /** Words after the colon: `Stopped Shutdown`; empty where there are none. */
  readonly detail: string;
}

/** @returns undefined where the line is not the first of an event */
export function readEvent(line: string): DomainEvent | undefined {
  const match = /^event '([a-z-]+)' for domain '?([^':]+)'?(?:: ?(.*))?$/.exec(line.trim());
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { kind: match[1], domain: match[2].trim(), detail: match[3]?.trim() ?? '' };
}
