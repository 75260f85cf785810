import { CvmpError, type ErrorCode } from '#core/errors.js';

interface Refusal {
  readonly code: ErrorCode;
  /** Matched against what virsh says under LC_ALL=C. */
  readonly says: RegExp;
}

/**
 * virsh ends with 1 whatever has happened and prints no number, so its words decide. The first row
 * that matches counts; what none matches is a failure of the driver.
 */
const refusals: readonly Refusal[] = [
  { code: 'NOT_FOUND', says: /failed to get domain|Domain not found|no domain with matching/i },
  { code: 'ALREADY_EXISTS', says: /already exists with uuid|is already defined/i },
  {
    code: 'CVM_STATE',
    says: /domain is not running|Domain is already active|domain is already running/i,
  },
  {
    code: 'HOST_UNSUITABLE',
    says: /unsupported configuration|XML error: Invalid value for attribute 'type' in element 'launchSecurity'|does not support (SEV|TDX)|launch security is not supported/i,
  },
  {
    code: 'MIGRATION_REFUSED',
    says: /Unsafe migration|migration is not (supported|possible)|State blocked by/i,
  },
  {
    code: 'LAUNCH_REFUSED',
    says: /sev_snp_launch|SNP_LAUNCH|tdx.*(init_vm|finalize)|kvm_arch_init_vm/i,
  },
  {
    code: 'HOST_UNREACHABLE',
    says: /failed to connect to the hypervisor|cannot recv data|End of file while reading|Connection (reset|refused)|client socket is closed/i,
  },
  {
    code: 'QUOTA',
    says: /Cannot allocate memory|No space left on device|cannot set up guest memory/i,
  },
];

/** @param stderr what virsh printed */
export function refusalOf(verb: string, stderr: string, cause?: unknown): CvmpError {
  const words = said(stderr);
  const code = refusals.find(({ says }) => says.test(words))?.code ?? 'DRIVER';
  return new CvmpError(code, `libvirt: ${verb}: ${words}`, { cause });
}

/** Its lines without the prefix and without repetitions, one after the other. */
function said(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.replace(/^error: /, '').trim());
  return [...new Set(lines.filter((line) => line !== ''))].join('; ') || 'it did not say why';
}
