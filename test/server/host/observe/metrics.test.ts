import { describe, expect, test } from 'vitest';
import { Metrics } from '#server/host/observe/metrics.js';

describe('metrics in the text format of Prometheus (0.0.4)', () => {
  test('a counter without labels is there from the start, at 0', () => {
    const metrics = new Metrics();
    const count = metrics.counter('cvmp_things_total', 'Things.');
    const lines = ['# HELP cvmp_things_total Things.', '# TYPE cvmp_things_total counter'];
    expect(metrics.text()).toBe(`${lines.join('\n')}\ncvmp_things_total 0\n`);
    count.add();
    count.add(2);
    expect(metrics.text()).toContain('\ncvmp_things_total 3\n');
  });

  test('labels make children of their own, and are escaped', () => {
    const metrics = new Metrics();
    const calls = metrics.counters('cvmp_calls_total', 'Calls.', ['method', 'code']);
    calls('A/B', 'OK').add();
    calls('A/B', 'OK').add();
    calls('a"b\\c\nd', 'NOT_FOUND').add();
    expect(metrics.text()).toContain('cvmp_calls_total{method="A/B",code="OK"} 2\n');
    expect(metrics.text()).toContain('{method="a\\"b\\\\c\\nd",code="NOT_FOUND"} 1\n');
  });

  test('a histogram: cumulative buckets with inclusive bounds, sum and count', () => {
    const metrics = new Metrics();
    const seconds = metrics.histograms('cvmp_x_seconds', 'X.', ['method'], [0.1, 1]);
    for (const value of [0.1, 0.5, 1, 7]) seconds('M').observe(value);
    const samples = metrics.text().split('\n').slice(2, -1);
    expect(samples).toEqual([
      'cvmp_x_seconds_bucket{method="M",le="0.1"} 1',
      'cvmp_x_seconds_bucket{method="M",le="1"} 3',
      'cvmp_x_seconds_bucket{method="M",le="+Inf"} 4',
      'cvmp_x_seconds_sum{method="M"} 8.6',
      'cvmp_x_seconds_count{method="M"} 4',
    ]);
  });

  test('gauges are read when asked for; one that has no value has no sample', () => {
    const metrics = new Metrics();
    let value: number | undefined;
    metrics.gauge('cvmp_age_seconds', 'Age.', () => value);
    metrics.gauges('cvmp_open', 'Open.', ['port'], () => [[['grpc'], 2]]);
    expect(metrics.text()).not.toContain('\ncvmp_age_seconds ');
    value = 1.5;
    expect(metrics.text()).toContain('\ncvmp_age_seconds 1.5\n');
    expect(metrics.text()).toContain('\ncvmp_open{port="grpc"} 2\n');
  });

  test('a family never has more children than its bound: the rest counts as other', () => {
    const metrics = new Metrics();
    const family = metrics.counters('cvmp_many_total', 'Many.', ['code']);
    for (let i = 0; i < 1500; i++) family(`c${i}`).add();
    const samples = metrics.text().split('\n').slice(2, -1);
    expect(samples).toHaveLength(1001);
    expect(samples.at(-1)).toBe('cvmp_many_total{code="other"} 500');
  });

  test.each([
    ['a second declaration', (m: Metrics) => m.gauge('cvmp_a', '', () => 0)],
    ['a counter without _total', (m: Metrics) => m.counter('cvmp_b', '')],
    ['a foreign prefix', (m: Metrics) => m.gauge('other_b', '', () => 0)],
  ])('%s is a mistake of the programmer', (_what, declare) => {
    const metrics = new Metrics();
    metrics.gauge('cvmp_a', '', () => 0);
    expect(() => declare(metrics)).toThrow(TypeError);
  });
});
