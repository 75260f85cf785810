import { encodeServicesManifest, type SvsmService } from '#core/svsm/manifest.js';
import { crypto } from '#crypto';
import type { ExtendedReport, ReportRequest, SimulatedGuest } from './guest.js';
import { type ServiceReport, type ServiceRequest, TsmError, type TsmProvider } from './tsm.js';

/** Highest version of the vTPM service's manifest. */
const manifestVersionMax = 1;

/**
 * A guest with an SVSM at VMPL 0, as COCONUT implements it: the SVSM attests its services by a
 * report over SHA-512 of nonce and manifest (SVSM specification s.7).
 */
export class SimulatedSvsm implements TsmProvider {
  readonly #guest: SimulatedGuest;
  readonly #services: readonly SvsmService[];

  constructor(guest: SimulatedGuest, services: readonly SvsmService[]) {
    this.#guest = guest;
    this.#services = services;
  }

  /** A report that the guest asks of the processor itself. */
  report(request: ReportRequest): Promise<ExtendedReport> {
    return this.#guest.report(request);
  }

  /** @throws TsmError EINVAL where the SVSM answers SVSM_ERR_INVALID_PARAMETER */
  async serviceReport({ nonce, guid, manifestVersion }: ServiceRequest): Promise<ServiceReport> {
    const manifest =
      guid === undefined
        ? encodeServicesManifest(this.#services)
        : this.#services.find((service) => service.guid === guid)?.manifest;
    if (manifest === undefined || manifestVersion > manifestVersionMax) {
      throw new TsmError('EINVAL', 'SVSM_ERR_INVALID_PARAMETER');
    }
    const reportData = crypto.hash('sha512', nonce, manifest);
    return { ...(await this.#guest.report({ reportData, vmpl: 0 })), manifest };
  }
}
