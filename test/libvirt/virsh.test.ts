import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { domainXml } from '#libvirt/domain/domain.js';
import { type DomainEvent, readEvent } from '#libvirt/virsh/events.js';
import { Virsh } from '#libvirt/virsh/virsh.js';
import { refusalOf } from '../refusal.js';
import { temporaryFolder } from '../run-folder.js';
import { libvirtMissing, startDaemon } from './daemon.js';
import { vtpmDomain } from './domains.js';

describe('events as virsh prints them', () => {
  test.each<[string, DomainEvent | undefined]>([
    [
      "event 'lifecycle' for domain 'cvm1': Stopped Shutdown",
      { kind: 'lifecycle', domain: 'cvm1', detail: 'Stopped Shutdown' },
    ],
    ["event 'reboot' for domain 'cvm1'", { kind: 'reboot', domain: 'cvm1', detail: '' }],
    [
      "event 'migration-iteration' for domain 'cvm1': iteration: '2'",
      { kind: 'migration-iteration', domain: 'cvm1', detail: "iteration: '2'" },
    ],
    ["event 'job-completed' for domain 'c':", { kind: 'job-completed', domain: 'c', detail: '' }],
    ['\toperation: 5', undefined],
    ['events received: 3', undefined],
    ['', undefined],
  ])('%s', (line, event) => {
    expect(readEvent(line)).toEqual(event);
  });
});

const without = libvirtMissing === undefined ? '' : ` (${libvirtMissing} is not installed)`;
describe.skipIf(libvirtMissing !== undefined)(`libvirt by virsh${without}`, () => {
  const nowhere = `qemu+unix:///session?socket=${join(temporaryFolder('nowhere'), 'sock')}`;

  test('where nobody answers, the host is unreachable', async () => {
    const virsh = new Virsh({ uri: nowhere, millisecondsMax: 60_000 });
    expect(await refusalOf(virsh.ask('version'))).toBe('HOST_UNREACHABLE');
    const lost = new Promise<string>((resolve) => {
      virsh.follow(
        () => undefined,
        ({ code }) => resolve(code),
      );
    });
    expect(await lost).toBe('HOST_UNREACHABLE');
  });

  test('a question that is not answered in time is given up', async () => {
    const virsh = new Virsh({ uri: 'test:///default', millisecondsMax: 1 });
    expect(await refusalOf(virsh.ask('event', '--all', '--loop'))).toBe('DRIVER');
  });

  test('what happens to domains is told, and that the connection is lost', async () => {
    const daemon = await startDaemon();
    const virsh = new Virsh({ uri: daemon.uri, millisecondsMax: 60_000 });
    const domain = vtpmDomain();
    const details: string[] = [];
    const lost = new Promise<string>((resolve) => {
      virsh.follow(
        ({ detail }) => details.push(detail),
        ({ code }) => resolve(code),
      );
    });
    // Nobody says when the other connection has begun to listen: told until it was heard.
    while (!details.includes('Undefined Removed')) {
      await virsh.askOf(domainXml(domain), 'define');
      await virsh.ask('undefine', '--nvram', domain.name);
    }
    await daemon.stop();
    expect(await lost).toBe('HOST_UNREACHABLE');
  });
});
