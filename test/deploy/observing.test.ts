import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { createLog } from '#server/host/log.js';
import { hostMetrics } from '#server/host/observe/host-metrics.js';
import { createObservation } from '#server/host/observe/observation.js';
import { KeyServerMetrics } from '#server/key-server/metrics.js';

const deploy = fileURLToPath(new URL('../../deploy/', import.meta.url));
const rulesFile = join(deploy, 'prometheus/rules.yaml');
const guide = readFileSync(join(deploy, '../docs/operating/observing.md'), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string };
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

const { groups } = parse(readFileSync(rulesFile, 'utf8')) as {
  groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(join(deploy, 'grafana/cvmp.json'), 'utf8')) as {
  uid: string;
  panels: readonly Panel[];
};
const expressions = [
  ...rules.map(({ expr }) => expr),
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
];

/** Everything that a Key Server with traces declares. */
function declared(): { names: readonly string[]; text: string } {
  const log = createLog('test', 'silent');
  const otlp = { url: 'http://127.0.0.1:1', exportSeconds: 300, timeoutSeconds: 1, queueMax: 1 };
  const observation = createObservation({ ...otlp, sampleOneIn: 1 }, { service: 'x', log });
  const readings = { callsOpen: () => 0, connections: () => [], certificate: () => '' };
  hostMetrics(observation, readings).close();
  new KeyServerMetrics(observation);
  void observation.close();
  return { names: observation.metrics.names, text: '' };
}

const { names } = declared();
const series = new Set(
  names.flatMap((name) => [name, ...['_bucket', '_sum', '_count'].map((end) => name + end)]),
);
const used = new Set(expressions.flatMap((expr) => expr.match(/\bcvmp_[a-z0-9_]+/g) ?? []));

describe('deploy/prometheus and deploy/grafana', () => {
  test('every metric that a rule or a panel names is one of the code', () => {
    expect([...used].filter((name) => !series.has(name))).toEqual([]);
  });

  test('every metric of the code is on the dashboard or in a rule', () => {
    const isUsed = (name: string) => [...used].some((other) => other.startsWith(name));
    expect(names.filter((name) => !isUsed(name))).toEqual([]);
  });

  test('rules have the shape that Prometheus reads', () => {
    expect(rules.length).toBeGreaterThan(10);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const rule of rules) {
      expect(Object.keys(rule).sort()).toEqual(
        [
          'alert',
          'annotations',
          'expr',
          'labels',
          ...(rule.for === undefined ? [] : ['for']),
        ].sort(),
      );
      expect(rule.alert).toMatch(/^Cvmp[A-Za-z]+$/);
      expect(rule.for ?? '0s').toMatch(/^\d+[smh]$/);
      expect(['page', 'ticket', 'info']).toContain(rule.labels.severity);
      expect(rule.annotations.summary).toMatch(/\{\{ \$labels\.instance \}\}/);
    }
  });

  test('parentheses, braces and quotes of every expression are in pairs', () => {
    for (const expr of expressions) {
      const plain = expr.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
      const open: string[] = [];
      for (const c of plain) {
        if ('([{'.includes(c)) open.push(c);
        else if (')]}'.includes(c)) expect(open.pop(), expr).toBe('([{'[')]}'.indexOf(c)]);
      }
      expect(open, expr).toEqual([]);
    }
  });

  test('panels have ids of their own and do not lie over each other', () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [i, a] of panels.entries()) {
      expect(a.gridPos.x + a.gridPos.w).toBeLessThanOrEqual(24);
      for (const { gridPos: b } of panels.slice(i + 1)) {
        const { x, y, w, h } = a.gridPos;
        const apart = x + w <= b.x || b.x + b.w <= x || y + h <= b.y || b.y + b.h <= y;
        expect(apart, a.title).toBe(true);
      }
    }
  });

  test('no label of an expression could be a tenant, a CVM or a key', () => {
    const labels = expressions.flatMap((expr) => [...expr.matchAll(/by \(([^)]*)\)/g)]);
    const known = ['instance', 'method', 'code', 'le', 'operation', 'format', 'port', 'state'];
    for (const [, list = ''] of labels) {
      for (const label of list.split(',')) expect(known).toContain(label.trim());
    }
  });

  test('the guide says what to do for each alert', () => {
    expect(rules.map(({ alert }) => alert).filter((alert) => !guide.includes(alert))).toEqual([]);
  });

  const promtool = spawnSync('promtool', ['--version']).status === 0;

  // promtool comes with Debian's package prometheus, which .ci/run installs.
  test.skipIf(!promtool)('promtool takes the rules (skipped where it is not installed)', () => {
    expect(() => execFileSync('promtool', ['check', 'rules', rulesFile])).not.toThrow();
  });

  test.skipIf(!promtool)('promtool takes what /metrics says (skipped likewise)', () => {
    const observation = createObservation();
    const metrics = new KeyServerMetrics(observation);
    metrics.request('keyAcquire', 'OK', 0.001);
    metrics.attested('snp', 'POLICY_DEBUG', 0.01);
    const input = observation.metrics.text();
    expect(() => execFileSync('promtool', ['check', 'metrics'], { input })).not.toThrow();
  });
});
