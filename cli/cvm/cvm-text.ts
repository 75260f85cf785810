import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import { TeeTypeSchema } from '#gen/cvmp/v1/evidence_pb.js';
import { AgentPhase, AgentPhaseSchema, type GuestStatusResponse } from '#gen/cvmp/v1/guest_pb.js';
import { type Cvm, CvmSchema, CvmStateSchema } from '#gen/cvmp/v1/platform_pb.js';
import { fields, type Output, table } from '../terminal/output.js';
import { enumName, toReadable } from '../terminal/readable.js';

/** RFC 3339 to the second; `-` where there is none. */
export function timeText(time: Timestamp | undefined): string {
  return time === undefined
    ? '-'
    : timestampDate(time)
        .toISOString()
        .replace(/\.\d+Z$/, 'Z');
}

/** Whether the Key Agent has said anything in this boot. */
export function hasReported(agent: GuestStatusResponse | undefined): agent is GuestStatusResponse {
  return agent !== undefined && agent.phase !== AgentPhase.UNSPECIFIED;
}

/** What the Key Agent reported last, in a few words. */
export function agentText(agent: GuestStatusResponse | undefined): string {
  if (!hasReported(agent)) return '-';
  const phase = enumName(AgentPhaseSchema, agent.phase).replaceAll('-', ' ');
  const disk = agent.diskAction === '' ? '' : `, disk ${agent.diskAction}`;
  const svn = agent.svn === 0 ? '' : `, SVN ${agent.svn}`;
  return agent.code === '' ? `${phase}${disk}${svn}` : `${phase}: ${agent.code}`;
}

export function cvmTable(cvms: readonly Cvm[]): string {
  return table(
    ['NAME', 'STATE', 'TEE', 'AGENT', 'CREATED'],
    cvms.map((cvm) => [
      cvm.name,
      enumName(CvmStateSchema, cvm.state),
      enumName(TeeTypeSchema, cvm.tee),
      agentText(cvm.agent),
      timeText(cvm.created),
    ]),
  );
}

/** One CVM, every fact on its line. */
export function cvmFields(cvm: Cvm): string {
  const { agent } = cvm;
  const launch = cvm.launchInputs;
  return fields([
    ['name', cvm.name],
    ['id', cvm.cvmId],
    ['state', enumName(CvmStateSchema, cvm.state) + (cvm.message === '' ? '' : `: ${cvm.message}`)],
    ['TEE', enumName(TeeTypeSchema, cvm.tee)],
    ['created', timeText(cvm.created)],
    ['boots', String(cvm.bootCount)],
    [
      'size',
      `${cvm.shape?.vcpus ?? 0} vCPU ${launch?.vcpuType ?? ''}, ${cvm.shape?.memoryMib ?? 0} MiB`,
    ],
    ['image', toHex(launch?.imageDigest ?? new Uint8Array())],
    ['measurement', `${toHex(cvm.predictedMeasurement)} (as the platform predicts it)`],
    ['config document', `SHA-256 ${toHex(cvm.configDocumentDigest)}`],
    ['SVN', cvm.features?.svn ? String(cvm.features.svn) : '-'],
    ['agent', agentText(agent) + (agent?.message ? `: ${agent.message}` : '')],
    ['KeyID', toHex(agent?.keyId ?? new Uint8Array()) || '-'],
    ['floor, level', agent === undefined ? '-' : `${agent.svnFloor}, ${agent.level}`],
  ]);
}

/** A single CVM as a command's output. */
export function cvmOutput(cvm: Cvm | undefined, text: string): Output {
  return { json: { cvm: cvm === undefined ? null : toReadable(CvmSchema, cvm) }, text };
}
