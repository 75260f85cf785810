import { describe, expect, test } from 'vitest';
import { parseAgentConfig, printAgentConfig } from '#agent/config.js';
import { fromHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';

const least = `
key_server_address: ks.example:7443
config_document_file: config.cbor
tsm: { socket: /run/tsm.sock }
disk: { path: disk.img }
`;

const refusal = (text: string) => {
  try {
    parseAgentConfig(text, '/etc/cvmp');
  } catch (error) {
    if (error instanceof CvmpError) return `${error.code} ${error.field}`;
    throw error;
  }
  return 'accepted';
};

const withTpm = (entry: string) => least.replace(/tsm.*/, `tpm: { ${entry} }`);

describe('agent config file', () => {
  test('what is not said has a default, and relative paths start at the file', () => {
    expect(parseAgentConfig(least, '/etc/cvmp')).toEqual({
      keyServer: { host: 'ks.example', port: 7443 },
      configDocumentFile: '/etc/cvmp/config.cbor',
      tsm: {
        kind: 'socket',
        path: '/run/tsm.sock',
        privlevel: undefined,
        provider: undefined,
        service: undefined,
        eventLogFile: '/sys/firmware/acpi/tables/data/CCEL',
      },
      guestSocket: undefined,
      disk: { path: '/etc/cvmp/disk.img', backend: 'auto', sizeMib: 64, mapperName: undefined },
      keyId: undefined,
      purpose: 'disk',
      deliver: { kind: 'disk' },
      rekey: 'auto',
      onKeyLoss: 'stay',
      noticeHook: undefined,
      migrationCheckSeconds: 60,
      stateDir: '/run/cvmp',
      checkpointFile: '/run/cvmp/checkpoints',
      tlsCaFile: undefined,
      retry: { initialMs: 500, maxMs: 30_000, deadlineMs: 3_600_000 },
      allowPersistentFiles: false,
    });
  });

  test('a KeyID of digits only needs no quotes', () => {
    const config = parseAgentConfig(`${least}key_id: 00112233445566778899001122334455`, '/');
    expect(config.keyId).toEqual(fromHex('00112233445566778899001122334455'));
  });

  test('an IPv6 address is written in brackets', () => {
    const config = parseAgentConfig(
      least.replace('ks.example', '"[::1]"').replace('"[::1]":7443', '"[::1]:7443"'),
      '/',
    );
    expect(config.keyServer).toEqual({ host: '::1', port: 7443 });
  });

  test('is frozen', () => {
    const config = parseAgentConfig(least, '/');
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.disk)).toBe(true);
  });

  test('what --print-config shows reads back as the same', () => {
    const full = `
key_server_address: "[::1]:1"
config_document_file: /c
tsm: { configfs: /sys/kernel/config/tsm/report, privlevel: 1 }
guest_socket: /run/g.sock
disk: { path: /d, backend: luks, size_mib: 16, mapper_name: cvmp-data }
key_id: 000102030405060708090a0b0c0d0e0f
purpose: data
deliver: { kind: socket, path: /run/k.sock }
rekey: advise
state_dir: /run/s
tls_ca_file: /ca.pem
retry: { initial_ms: 1, max_ms: 2, deadline_ms: 0 }
allow_persistent_files: true
`;
    const svsm = `${least.replace(/tsm.*/, 'tsm: { configfs: /t, provider: sev_guest, service: svsm, service_guid: c476f1eb-0123-45a5-9641-b4e7dde5bfe3, service_manifest_version: 1, event_log_file: /l }')}
tpm: { swtpm_socket: /s, platform: google, ak_handle: 0x81000003, bank: sha384, pcrs: [15, 0, 7], event_log_file: /e, measure_log_file: /m, imds_url: "http://localhost:1" }
`;
    const tpm = least.replace(/tsm.*/, 'tpm: { device: /dev/tpm1 }');
    for (const text of [least, full, svsm, tpm]) {
      const config = parseAgentConfig(text, '/x');
      expect(parseAgentConfig(printAgentConfig(config), '/y')).toEqual(config);
    }
  });

  test.each([
    ['nothing', '', 'CONFIG '],
    ['a list', '- a', 'CONFIG '],
    ['no YAML', '{', 'CONFIG undefined'],
    ['a key twice', `${least}rekey: auto\nrekey: auto`, 'CONFIG undefined'],
    ['an alias', `${least}rekey: &a auto\npurpose: *a`, 'CONFIG undefined'],
    ['an unknown entry', `${least}rekeyy: auto`, 'CONFIG rekeyy'],
    ['an unknown entry below', least.replace('disk.img', 'd, sise_mib: 1'), 'CONFIG disk.sise_mib'],
    ['no Key Server', least.replace('key_server', 'key_servant'), 'CONFIG key_server_address'],
    ['no port', least.replace(':7443', ''), 'CONFIG key_server_address'],
    ['port 0', least.replace(':7443', ':0'), 'CONFIG key_server_address'],
    ['port 65536', least.replace(':7443', ':65536'), 'CONFIG key_server_address'],
    ['a user in the address', least.replace('ks.', 'me@ks.'), 'CONFIG key_server_address'],
    ['neither TSM nor TPM', least.replace(/tsm.*/, ''), 'CONFIG tsm'],
    ['a TPM that no TSM vouches for', `${least}tpm: { device: /dev/tpm0 }`, 'CONFIG tpm'],
    [
      'an unknown guest module',
      least.replace('tsm.sock', 'a, provider: sgx'),
      'CONFIG tsm.provider',
    ],
    [
      'a GUID in upper case',
      least.replace('tsm.sock', 'a, service_guid: A'),
      'CONFIG tsm.service_guid',
    ],
    ['a handle of no key', withTpm('ak_handle: 0x01c00002'), 'CONFIG tpm.ak_handle'],
    ['SHA-1', withTpm('bank: sha1'), 'CONFIG tpm.bank'],
    ['no PCRs', withTpm('pcrs: []'), 'CONFIG tpm.pcrs'],
    ['a PCR twice', withTpm('pcrs: [1, 1, 15]'), 'CONFIG tpm.pcrs'],
    ['PCR 24', withTpm('pcrs: [15, 24]'), 'CONFIG tpm.pcrs'],
    ['PCRs without that of the document', withTpm('pcrs: [0, 7]'), 'CONFIG tpm.pcrs'],
    ['a path behind the metadata service', withTpm('imds_url: http://a/b'), 'CONFIG tpm.imds_url'],
    ['two TSMs', least.replace('tsm.sock', 'a, configfs: b'), 'CONFIG tsm'],
    ['a VMPL of 4', least.replace('tsm.sock', 'a, privlevel: 4'), 'CONFIG tsm.privlevel'],
    ['no disk to deliver to', least.replace(/disk.*/, ''), 'CONFIG disk'],
    ['a disk of 7 MiB', least.replace('disk.img', 'd, size_mib: 7'), 'CONFIG disk.size_mib'],
    ['a size in hex', least.replace('disk.img', 'd, size_mib: 0x40'), 'CONFIG disk.size_mib'],
    ['a mapper path', least.replace('disk.img', 'd, mapper_name: ../x'), 'CONFIG disk.mapper_name'],
    [
      'a backend of another kind',
      least.replace('disk.img', 'd, backend: zfs'),
      'CONFIG disk.backend',
    ],
    ['a short KeyID', `${least}key_id: 0011`, 'CONFIG key_id'],
    ['a socket without a path', `${least}deliver: { kind: socket }`, 'CONFIG deliver.path'],
    ['a path for the disk', `${least}deliver: { kind: disk, path: /x }`, 'CONFIG deliver.path'],
    ['an endless backoff', `${least}retry: { deadline_ms: 86400001 }`, 'CONFIG retry.deadline_ms'],
    ['yes for true', `${least}allow_persistent_files: yes`, 'CONFIG allow_persistent_files'],
  ])('refuses %s', (_, text, expected) => {
    expect(refusal(text)).toBe(expected);
  });
});
