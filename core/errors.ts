/**
 * Every error that CVMP reports, in one table. Codes are stable; messages may change.
 * `docs/errors.md` is generated from this file.
 */

/** gRPC status names that a code may map to (google.rpc.Code). */
export type RpcCode =
  | 'INVALID_ARGUMENT'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'RESOURCE_EXHAUSTED'
  | 'UNIMPLEMENTED'
  | 'UNAVAILABLE'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'INTERNAL'
  | 'DATA_LOSS';

interface ErrorRow {
  readonly rpc: RpcCode;
  /** One fixed sentence: all that an unattested or unauthenticated peer learns beside the code. */
  readonly meaning: string;
  /** What the person who sees it does next. */
  readonly next: string;
}

const row = (rpc: RpcCode, meaning: string, next: string): ErrorRow => ({ rpc, meaning, next });

export const errorTable = {
  // --- Encodings and limits
  MALFORMED: row(
    'INVALID_ARGUMENT',
    'The bytes are not of the expected form.',
    'Compare the input with the format named in the message.',
  ),
  NOT_CANONICAL: row(
    'INVALID_ARGUMENT',
    'The CBOR or DER is not in its deterministic encoding.',
    'Encode it as RFC 8949 s.4.2.1 (CBOR) or X.690 (DER) asks.',
  ),
  SIZE: row(
    'INVALID_ARGUMENT',
    'A value is longer, shorter or deeper than its limit.',
    'Keep to the limit named in the message.',
  ),
  UNKNOWN_CRITICAL: row(
    'INVALID_ARGUMENT',
    'A critical header or extension is not understood.',
    'Send it only to a peer that supports it.',
  ),
  UNSUPPORTED_ALGORITHM: row(
    'INVALID_ARGUMENT',
    'The algorithm is not one of those that CVMP accepts.',
    'Use one of the algorithms named in docs/protocol.md.',
  ),
  INVALID_FIELD: row(
    'INVALID_ARGUMENT',
    'A field of the request breaks its rule.',
    'Correct the field named in the message; proto/ states each rule.',
  ),
  // --- COSE and tokens
  SIGNATURE_INVALID: row(
    'UNAUTHENTICATED',
    'A signature does not verify.',
    'Check that the right key signed exactly these bytes.',
  ),
  QUORUM: row(
    'PERMISSION_DENIED',
    'Fewer of the named signers have signed than the rule asks.',
    'Have another of them sign it too: cvmp policy sign FILE.',
  ),
  DECRYPT_FAILED: row(
    'INVALID_ARGUMENT',
    'A sealed value does not open.',
    'The value was changed, or sealed under another key.',
  ),
  // --- Evidence: cryptographic steps (protocol order; first failure wins)
  UNSUPPORTED_EVIDENCE: row(
    'UNIMPLEMENTED',
    'The evidence is of a kind that this verifier does not know.',
    'See docs/limitations.md for the kinds that it does.',
  ),
  UNSUPPORTED_VERSION: row(
    'UNIMPLEMENTED',
    'The version of this format or protocol is not supported.',
    'Update the older side.',
  ),
  UNSUPPORTED_SIGNATURE_ALGO: row(
    'UNAUTHENTICATED',
    'The evidence names a signature algorithm that is not accepted for its kind.',
    'Use evidence from supported hardware.',
  ),
  WRONG_SIGNING_KEY: row(
    'UNAUTHENTICATED',
    'The evidence is unsigned, or signed by a key of a kind that is not accepted.',
    'Ask the provider for reports signed by the VCEK or a VLEK.',
  ),
  UNTRUSTED_ROOT: row(
    'UNAUTHENTICATED',
    'The certificate chain does not end in a pinned root.',
    'Pin the root as a trust anchor if you mean to trust it.',
  ),
  CHAIN_INVALID: row(
    'UNAUTHENTICATED',
    'The certificate chain does not verify.',
    'Fetch the right certificates for this chip.',
  ),
  CERT_EXPIRED: row(
    'UNAUTHENTICATED',
    'A certificate is outside its validity at the time of evaluation.',
    'Fetch a current certificate, or give the time of the evidence.',
  ),
  CERT_REVOKED: row(
    'UNAUTHENTICATED',
    'A certificate of the chain is on its revocation list.',
    'Do not trust this platform until its vendor re-issues the certificate.',
  ),
  WRONG_KEY_TYPE: row(
    'UNAUTHENTICATED',
    'A certificate carries a key of the wrong type for its role.',
    'Give the certificates in their roles: leaf, intermediate, root.',
  ),
  CERT_EXTENSION_MISSING: row(
    'UNAUTHENTICATED',
    'The endorsement certificate lacks an extension that binds it to the platform.',
    'Fetch the certificate from the vendor again.',
  ),
  PRODUCT_MISMATCH: row(
    'UNAUTHENTICATED',
    'Report, certificate and root are not of one product.',
    'Use the chain of the product that made the report.',
  ),
  CHIP_ID_MISMATCH: row(
    'UNAUTHENTICATED',
    'The certificate is of another chip than the report, or the report hides its chip.',
    'Fetch the certificate of this chip.',
  ),
  TCB_MISMATCH: row(
    'UNAUTHENTICATED',
    'The certificate is of another TCB version than the report, or TCB versions are out of order.',
    'Fetch the certificate for the REPORTED_TCB of this report.',
  ),
  EVIDENCE_SIGNATURE_INVALID: row(
    'UNAUTHENTICATED',
    'The signature of the evidence does not verify.',
    'The evidence was changed, or belongs to another certificate.',
  ),
  COLLATERAL_STALE: row(
    'FAILED_PRECONDITION',
    'Collateral that this appraisal needs is missing or out of date.',
    'Refresh the certificates or revocation lists.',
  ),
  ENDORSEMENT_UNAVAILABLE: row(
    'UNAVAILABLE',
    'An endorsement that this appraisal needs could not be got from its vendor.',
    'Try again later, or import it: cvmp-key-server endorsements import.',
  ),
  ENDORSEMENT_INVALID: row(
    'UNAVAILABLE',
    'What was got as an endorsement is not what was asked for.',
    'Check the address of the service; import the endorsement from its vendor.',
  ),
  COLLATERAL_SIGNATURE: row(
    'FAILED_PRECONDITION',
    'The vendor did not sign the collateral.',
    'Fetch TCB Info and QE Identity again, and keep their text byte for byte.',
  ),
  COLLATERAL_TYPE: row(
    'FAILED_PRECONDITION',
    'The collateral is of another kind or version than the evidence needs.',
    'Fetch TDX TCB Info (version 3) and TD QE Identity (version 2).',
  ),
  FMSPC_MISMATCH: row(
    'FAILED_PRECONDITION',
    'TCB Info is of another platform family than the certificate of the platform.',
    'Fetch the TCB Info of the FMSPC that the PCK certificate names.',
  ),
  QE_REPORT_INVALID: row(
    'UNAUTHENTICATED',
    'The platform does not vouch for the key that signed the quote.',
    'Use a quote as its Quoting Enclave made it.',
  ),
  QE_IDENTITY_MISMATCH: row(
    'UNAUTHENTICATED',
    "The quote was made by another enclave than the vendor's Quoting Enclave.",
    'Use the quote of a production Quoting Enclave.',
  ),
  TDX_MODULE_MISMATCH: row(
    'UNAUTHENTICATED',
    'The TDX module is none that the vendor lists.',
    'Run the TD under a TDX module that the vendor signed.',
  ),
  TCB_UNKNOWN: row(
    'UNAUTHENTICATED',
    'The TCB is below every level that the vendor lists.',
    'Update the platform, and have its PCK certificate issued anew.',
  ),
  TCB_REVOKED: row(
    'UNAUTHENTICATED',
    'The vendor revoked this TCB.',
    'Update the platform; a revoked TCB is never accepted.',
  ),
  AK_UNTRUSTED: row(
    'UNAUTHENTICATED',
    'Nothing vouches for the attestation key of this platform or TPM.',
    'Endorse the key: a certificate, an activated credential, a platform key.',
  ),
  PCR_SELECTION: row(
    'UNAUTHENTICATED',
    'The TPM quote is over other PCRs or another bank than was asked.',
    'Quote the PCRs that the challenge names.',
  ),
  PCR_MISMATCH: row(
    'UNAUTHENTICATED',
    'The PCR values are not those that the TPM quoted.',
    'Read the PCRs again together with the quote.',
  ),
  EVENT_LOG_MISMATCH: row(
    'UNAUTHENTICATED',
    'The event log does not explain the quoted registers.',
    'Send the whole log of this boot.',
  ),
  TPM_ROLLED_BACK: row(
    'UNAUTHENTICATED',
    'The TPM counts fewer resets than it did before: an older state of it was put back.',
    'Start the CVM with the state of its TPM that it stopped with.',
  ),
  RUNTIME_DATA_MISMATCH: row(
    'UNAUTHENTICATED',
    'The runtime data is not what the hardware report was made over.',
    'Send the HCL report, or the manifest of the SVSM, with the hardware evidence made over it.',
  ),
  REALM_KEY_MISMATCH: row(
    'UNAUTHENTICATED',
    'The platform does not vouch for the key of the realm.',
    'Use both parts of one token.',
  ),
  // --- Attestation Results (passport model)
  VERIFIER_UNTRUSTED: row(
    'UNAUTHENTICATED',
    'No verifier that the policy names signed the Attestation Result.',
    'Name the verifier and its key in the policy, or use one that it names.',
  ),
  RESULT_STALE: row(
    'UNAUTHENTICATED',
    'The Attestation Result is too old, has expired, or is from the future.',
    'Obtain a fresh result from the verifier, and compare the clocks.',
  ),
  // --- Session and binding
  BINDING_MISMATCH: row(
    'UNAUTHENTICATED',
    'The evidence was not made for this session.',
    'Attest again on this connection; no proxy may terminate TLS in between.',
  ),
  NONCE_EXPIRED: row(
    'UNAUTHENTICATED',
    'The challenge has expired or was used before.',
    'Start a new session.',
  ),
  SERVER_UNTRUSTED: row(
    'UNAUTHENTICATED',
    'The Key Server is not the one named in the config document.',
    'Check the Key Server address and the config document of this CVM.',
  ),
  SERVER_ROLLBACK: row(
    'FAILED_PRECONDITION',
    'The Key Server was shown a checkpoint of its own that its log does not reach or contradicts.',
    'Its state was rolled back: it serves nobody until its operator has looked (docs/operating/audit.md).',
  ),
  LOG_INCONSISTENT: row(
    'FAILED_PRECONDITION',
    'The Key Server does not prove that its log continues the checkpoint kept here.',
    'Its state was rolled back or forked: keep the checkpoint and ask its operator.',
  ),
  CONFIG_MISMATCH: row(
    'UNAUTHENTICATED',
    'The config document is not the one bound by the hardware.',
    'Create the CVM again with the right config document.',
  ),
  PROTOCOL_ORDER: row(
    'FAILED_PRECONDITION',
    'A message came that the state of this session does not allow.',
    'Open a new stream and follow the order of docs/protocol.md.',
  ),
  SEQUENCE: row(
    'INVALID_ARGUMENT',
    'A sealed frame is out of sequence or does not open.',
    'Open a new stream and attest again.',
  ),
  VERSION: row('UNIMPLEMENTED', 'No common protocol version.', 'Update the older side.'),
  SUITE: row('UNIMPLEMENTED', 'No common cipher suite.', 'Enable a common suite on both sides.'),
  REATTEST_REQUIRED: row(
    'FAILED_PRECONDITION',
    'The lease of this session is over.',
    'Open a new stream and attest again.',
  ),
  // --- Appraisal policy (on verified claims; all failures are listed)
  NO_POLICY: row(
    'FAILED_PRECONDITION',
    'No Keying Policy covers this CVM; nothing is released.',
    'Set a policy: cvmp policy set FILE.',
  ),
  POLICY_REFUSED: row(
    'PERMISSION_DENIED',
    'The Keying Policy does not admit this CVM.',
    'The tenant finds the failed checks in the audit record.',
  ),
  POLICY_DEBUG: row(
    'PERMISSION_DENIED',
    'The guest policy allows debugging.',
    'Launch the CVM without the debug bit.',
  ),
  POLICY_MIGRATION: row(
    'PERMISSION_DENIED',
    'The guest policy allows a migration agent that the policy does not.',
    'Launch without MIGRATE_MA, or admit the migration agent.',
  ),
  POLICY_VMPL: row(
    'PERMISSION_DENIED',
    'The evidence comes from another VMPL than the policy asks.',
    'Attest from the privilege level that the policy names.',
  ),
  POLICY_MEASUREMENT: row(
    'PERMISSION_DENIED',
    'The launch measurement is not among the reference values.',
    'Admit the measurement in the policy, or launch the admitted image.',
  ),
  POLICY_CHIP: row(
    'PERMISSION_DENIED',
    'The chip or its family is not admitted.',
    'Place the CVM on an admitted chip.',
  ),
  POLICY_SIMULATED: row(
    'PERMISSION_DENIED',
    'The evidence is simulated and the policy does not admit simulated hardware.',
    'Use real hardware, or say allow_simulated in a policy for tests.',
  ),
  POLICY_GUEST: row(
    'PERMISSION_DENIED',
    'The guest policy word, ID block or platform info breaks a rule.',
    'Launch the CVM as the policy asks.',
  ),
  POLICY_TCB: row(
    'PERMISSION_DENIED',
    'The TCB is below the lowest level of the policy.',
    'Update the platform firmware.',
  ),
  POLICY_SECURE_BOOT: row(
    'PERMISSION_DENIED',
    'Secure Boot is not proven as the policy asks.',
    'Boot with Secure Boot on, keys of the policy and a current dbx.',
  ),
  POLICY_RESULT: row(
    'PERMISSION_DENIED',
    'The Attestation Result of the external verifier is not as good as the policy asks.',
    'See the claims of the result: cvmp evidence show.',
  ),
  POLICY_ADVISORY: row(
    'PERMISSION_DENIED',
    'A security advisory that the policy does not accept is open on this platform.',
    'Update the platform, or accept the advisory in the policy until a date.',
  ),
  RELAUNCH_ADVISED: row(
    'FAILED_PRECONDITION',
    'The CVM was launched under firmware that has been updated since.',
    'Relaunch the CVM on the updated platform.',
  ),
  // --- Keys and SVN (protocol.md s.6.4, s.6.9)
  SVN_BELOW_FLOOR: row(
    'PERMISSION_DENIED',
    'The security version of this CVM is below the floor of the key.',
    'Update the CVM to the current security version.',
  ),
  SVN_ABOVE_LEVEL: row(
    'PERMISSION_DENIED',
    'The requested SVN is above the level that the evidence proves.',
    'Ask for an SVN up to the proven level.',
  ),
  SVN_NOT_INCREASING: row(
    'FAILED_PRECONDITION',
    'The target SVN is below the floor of the key; floors only rise.',
    'Read the current floor with KeyAcquire.',
  ),
  KEY_RETIRED: row(
    'PERMISSION_DENIED',
    'The Security Key of this SVN is retired and no longer served.',
    'Ask for an SVN from the retired mark upwards.',
  ),
  KEY_SUSPENDED: row(
    'PERMISSION_DENIED',
    'The tenant has suspended this key.',
    'The tenant resumes it when the reason is gone.',
  ),
  KEY_DESTROYED: row(
    'PERMISSION_DENIED',
    'The key is destroyed for good.',
    'Allocate a new key; the data of the old one is lost.',
  ),
  KEY_DESTROY_PENDING: row(
    'PERMISSION_DENIED',
    'The tenant has ordered the destruction of this key.',
    'Wait for it, or take the order back with cvmp key cancel-destroy.',
  ),
  KEY_COMPROMISED: row(
    'PERMISSION_DENIED',
    'The newest root key of this key is marked compromised.',
    'Give it a new root key with cvmp key rotate, or allocate another key.',
  ),
  KEY_STATE: row(
    'FAILED_PRECONDITION',
    'The state of the key does not allow this operation.',
    'See the key state table in docs/protocol.md.',
  ),
  KCV_MISMATCH: row(
    'FAILED_PRECONDITION',
    'The key check value is not that of this Security Key.',
    'Do not write the disk; report it to the operator of the Key Server.',
  ),
  INSTANCE_CONFLICT: row(
    'ALREADY_EXISTS',
    'Another instance of the CVM has this.',
    'Wait for the end of its lease, or let the tenant take the key over (cvmp key takeover).',
  ),
  QUOTA: row(
    'RESOURCE_EXHAUSTED',
    'A quota of the policy or tenant is used up.',
    'Destroy what is not used, or ask for a higher quota.',
  ),
  CAS_MISMATCH: row(
    'ABORTED',
    'The value was changed by somebody else in between.',
    'Read it again and repeat.',
  ),
  IDEMPOTENCY_MISMATCH: row(
    'ALREADY_EXISTS',
    'The request id was used before with another request.',
    'Use a fresh request id.',
  ),
  POLICY_NOT_TIGHTER: row(
    'FAILED_PRECONDITION',
    'A new policy version may add or tighten levels, never relax one.',
    'Keep every existing level at least as strict.',
  ),
  POLICY_CHAIN: row(
    'ABORTED',
    'The policy does not follow the current version.',
    'Fetch the current policy and build on its version and digest.',
  ),
  POLICY_EXPIRED: row(
    'FAILED_PRECONDITION',
    'The policy is outside its validity.',
    'Set a policy version that is valid now.',
  ),
  POLICY_INVALID: row(
    'INVALID_ARGUMENT',
    'The policy contradicts itself.',
    'Correct the field named in the message.',
  ),
  // --- Callers
  TOKEN_MISSING: row(
    'UNAUTHENTICATED',
    'The call carries no bearer token.',
    'Mint one: cvmp token --audience NAME.',
  ),
  TOKEN_INVALID: row(
    'UNAUTHENTICATED',
    'The bearer token is malformed, expired, for another audience, or signed by an unknown key.',
    'Mint a fresh one: cvmp token --audience NAME.',
  ),
  CLIENT_CERTIFICATE: row(
    'UNAUTHENTICATED',
    'The client certificate does not speak for the tenant that the call names.',
    'Register it: cvmp certificate add; or use a bearer token.',
  ),
  NOT_ALLOWED: row(
    'PERMISSION_DENIED',
    'The caller may not call this method.',
    'See docs/access.md for the verb that the method needs, and ask for it.',
  ),
  TENANT_SUSPENDED: row(
    'PERMISSION_DENIED',
    'The tenant is suspended on this server.',
    'Ask the operator of the server.',
  ),
  KEY_IN_USE: row(
    'FAILED_PRECONDITION',
    'Only its tenant may put another signing key in the place of one that signed policies.',
    'Rotate it with the old key: cvmp tenant rotate; or register a tenant of another name.',
  ),
  NOT_FOUND: row('NOT_FOUND', 'There is no such thing for this caller.', 'List what there is.'),
  ALREADY_EXISTS: row(
    'ALREADY_EXISTS',
    'It exists already with other content.',
    'Choose another name, or use the one that exists.',
  ),
  // --- Platform
  FEATURE_UNSUPPORTED: row(
    'FAILED_PRECONDITION',
    'The platform does not offer a requested feature.',
    'Read the offer: cvmp feature list.',
  ),
  FEATURE_SET_STALE: row(
    'FAILED_PRECONDITION',
    'The feature set named in the request is not the current one.',
    'Ask for the features again and build the request on the answer.',
  ),
  IMAGE_UNKNOWN: row(
    'FAILED_PRECONDITION',
    'The platform has no image of this digest.',
    'Upload the image, or name one of those that it has.',
  ),
  LAUNCH_REFUSED: row(
    'FAILED_PRECONDITION',
    'The security processor refused the launch.',
    'Compare ID block, guest policy and measurement.',
  ),
  CVM_STATE: row(
    'FAILED_PRECONDITION',
    'The lifecycle state of the CVM does not allow this operation.',
    'See the transition table in docs/architecture.md.',
  ),
  GUEST_UNREACHABLE: row(
    'UNAVAILABLE',
    'The Key Agent in the guest does not answer.',
    'Wait until the CVM has booted; then look at its console log.',
  ),
  HOST_UNSUITABLE: row(
    'FAILED_PRECONDITION',
    'The host cannot run such a guest.',
    'Ask for another kind of TEE, or for another host.',
  ),
  HOST_UNREACHABLE: row(
    'UNAVAILABLE',
    'The hypervisor of the host does not answer.',
    'Start libvirt on the host, or mend driver.uri.',
  ),
  MIGRATION_REFUSED: row(
    'FAILED_PRECONDITION',
    'The CVM cannot be migrated so; nothing was moved.',
    'Stop it and start it on the other host; it attests there.',
  ),
  DRIVER: row('UNAVAILABLE', 'The host driver failed.', 'See the log of the CVM Platform.'),
  // --- Agent
  TSM_UNAVAILABLE: row(
    'UNAVAILABLE',
    'The guest offers no way to obtain evidence.',
    'Load the sev-guest module and mount configfs.',
  ),
  TSM_BUSY: row('ABORTED', 'Another program changed the report request in between.', 'Try again.'),
  TPM_UNAVAILABLE: row(
    'UNAVAILABLE',
    'The TPM of the guest gives no evidence.',
    'Install tpm2-tools, let the agent use /dev/tpmrm0, and see the reason in its log.',
  ),
  HEADER_REFUSED: row(
    'FAILED_PRECONDITION',
    'The disk header is not one that the agent would have written.',
    'Do not use this disk: its header was changed outside the CVM.',
  ),
  DISK: row('FAILED_PRECONDITION', 'The disk could not be opened or changed.', 'See the message.'),
  DELIVERY: row(
    'FAILED_PRECONDITION',
    'The key could not be handed over in the guest.',
    "Correct the deliver entry of the agent's configuration.",
  ),
  // --- Store and process
  STORE_MISSING: row(
    'FAILED_PRECONDITION',
    'There is no store at this place.',
    'Create it with init; never by starting.',
  ),
  STORE_LOCKED: row(
    'FAILED_PRECONDITION',
    'Another process has the store open.',
    'Stop the other process first.',
  ),
  STORE_CORRUPT: row(
    'DATA_LOSS',
    'A record of the store is damaged or was moved.',
    'Bring back the files named from a mirror, or restore a backup; see docs/operating/durability.md.',
  ),
  STORE_BEHIND: row(
    'DATA_LOSS',
    'The store lacks changes that it had acknowledged.',
    'Bring back its newest files, or restore the newest backup; see docs/operating/durability.md.',
  ),
  SEALED: row(
    'UNAVAILABLE',
    'The Key Server is sealed: its master key has not been entered.',
    'Wait until its operators have unsealed it (cvmp-key-server unseal).',
  ),
  SEAL_STATE: row(
    'FAILED_PRECONDITION',
    'The server is sealed, or unsealed, already.',
    'See cvmp-key-server status.',
  ),
  MASTER_KEY: row(
    'PERMISSION_DENIED',
    'What was given is not the master key of this store, or no part of it.',
    'Give what init or the last rekey-master made; see docs/operating/sealing.md.',
  ),
  STORE_ACCESS: row(
    'FAILED_PRECONDITION',
    'The server may not read or write the files of its store.',
    'Run the server as their owner, keep them to it (chmod 700), on a disk that is not read-only.',
  ),
  RESTORED_READ_ONLY: row(
    'FAILED_PRECONDITION',
    'The store was restored, or lost its head file; it only reads until an operator anchors it.',
    'Stop the server and run `store anchor` with the newest known checkpoint.',
  ),
  STORE_WRITE: row(
    'UNAVAILABLE',
    'The store could not write; nothing was acknowledged.',
    'Check the disk and its space; then start the server again.',
  ),
  IN_FLIGHT: row(
    'RESOURCE_EXHAUSTED',
    'Too many requests are in flight on this stream.',
    'Wait for answers before sending more.',
  ),
  MESSAGE_SIZE: row(
    'RESOURCE_EXHAUSTED',
    'A message is larger than this server reads.',
    'Send less at once.',
  ),
  RATE: row('RESOURCE_EXHAUSTED', 'Too many requests.', 'Wait, then try again.'),
  SHUTTING_DOWN: row('UNAVAILABLE', 'The server is shutting down.', 'Try again later.'),
  CONFIG: row('INVALID_ARGUMENT', 'The configuration is wrong.', 'Correct the entry named.'),
  USAGE: row('INVALID_ARGUMENT', 'Wrong usage.', 'See --help.'),
  DEADLINE: row(
    'DEADLINE_EXCEEDED',
    'The call took longer than it may.',
    'Try again, or ask for less at once.',
  ),
  CANCELLED: row('CANCELLED', 'The operation was cancelled.', 'Try again.'),
  UNAVAILABLE: row('UNAVAILABLE', 'The peer cannot be reached.', 'Check the address; try again.'),
  INTERNAL: row('INTERNAL', 'An unexpected fault.', 'Report it with the request id.'),
} as const satisfies Record<string, ErrorRow>;

/** Stable reason code of a {@link CvmpError}. */
export type ErrorCode = keyof typeof errorTable;

export interface CvmpErrorOptions {
  readonly cause?: unknown;
  /** The offending field, as a path in the message or structure (`policy.levels[1].n`). */
  readonly field?: string;
  /** When it may be tried again, in milliseconds from now. */
  readonly retryAfterMs?: number;
}

/**
 * Malformed or forged input, or an operation that a rule refuses.
 * `message` is for the log and for whom the table below lets see it; `code` is for everybody.
 */
export class CvmpError extends Error {
  override readonly name = 'CvmpError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: CvmpErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.field = options.field;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** gRPC status name of this code. */
  get rpc(): RpcCode {
    return errorTable[this.code].rpc;
  }

  /** The sentence that tells what to do next. */
  get next(): string {
    return errorTable[this.code].next;
  }
}

/** True when `text` is a code of the table. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorTable, text);
}
