import { describe, expect, test } from 'vitest';
import { refusalOf } from '#libvirt/virsh/refusals.js';

describe('what virsh says, as a code', () => {
  test.each([
    ["error: failed to get domain 'nope'", 'NOT_FOUND'],
    ["error: operation failed: domain 'x' already exists with uuid 5b0c", 'ALREADY_EXISTS'],
    ['error: Domain is already active', 'CVM_STATE'],
    ['error: Requested operation is not valid: domain is not running', 'CVM_STATE'],
    [
      'error: unsupported configuration: SEV launch security is not supported with this QEMU binary',
      'HOST_UNSUITABLE',
    ],
    [
      "error: XML error: Invalid value for attribute 'type' in element 'launchSecurity': 'sev-snp'.",
      'HOST_UNSUITABLE',
    ],
    ['error: Operation not supported: QEMU does not support SEV guest', 'HOST_UNSUITABLE'],
    ['error: Unsafe migration: Migration without shared storage is unsafe', 'MIGRATION_REFUSED'],
    [
      'error: failed to connect to the hypervisor\nerror: Failed to connect socket',
      'HOST_UNREACHABLE',
    ],
    ['error: internal error: qemu: cannot set up guest memory: Cannot allocate memory', 'QUOTA'],
    ['error: internal error: something new', 'DRIVER'],
    ['', 'DRIVER'],
  ])('%s', (stderr, code) => {
    expect(refusalOf('define', stderr).code).toBe(code);
  });

  test('it names the question and all that was said, once', () => {
    const said = 'error: Failed to define domain\nerror: Failed to define domain\nerror: no\n';
    expect(refusalOf('define', said).message).toBe('libvirt: define: Failed to define domain; no');
  });
});
