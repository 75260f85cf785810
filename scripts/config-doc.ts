import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readPlatformSettings } from '#server/cvm-platform/config.js';
import { type ConfigReader, readConfig } from '#server/host/config/reader.js';
import { readKeyServerSettings } from '#server/key-server/config.js';

// Writes deploy/config/NAME.full.yaml: what --print-config says of NAME.yaml.

const folder = fileURLToPath(new URL('../../deploy/config/', import.meta.url));

function write(name: string, read: (config: ConfigReader) => unknown): void {
  const text = readFileSync(`${folder}${name}.yaml`, 'utf8');
  const { printed } = readConfig(text, `/etc/cvmp/${name}.yaml`, read);
  writeFileSync(`${folder}${name}.full.yaml`, printed);
}

write('key-server', readKeyServerSettings);
write('platform', readPlatformSettings);
