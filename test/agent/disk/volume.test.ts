import { VolumeDisk } from '#agent/disk/volume.js';
import { diskContract } from '../../contracts/disk.js';

diskContract('volume', (file) => VolumeDisk.load(file));
