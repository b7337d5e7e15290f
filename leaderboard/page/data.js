'use strict';

// The board's data, and what is read off one entry alone.

const board = JSON.parse(byId('board-data').textContent);
const parsed = new Map();

// Curves and roll-outs wait as text until someone looks at them.
function block(id) {
  if (!parsed.has(id)) parsed.set(id, JSON.parse(byId(id)?.textContent ?? 'null'));
  return parsed.get(id);
}

const detailOf = entry => block(entry.detail) ?? {};
const keyOf = entry => (entry.version ? `${entry.key}/${entry.version}` : String(entry.key));
// A version that is a number reads as one, "v2"; others are names themselves.
const labelOf = entry => [entry.name ?? entry.key, entry.version && entry.version.replace(/^(?=\d)/, 'v')].filter(Boolean).join(' ');
const scoreAt = (entry, metric, step) => entry.scores?.[metric]?.[step] ?? null;
const rankAt = (entry, { metric, step }) => entry.ranks?.[metric]?.[step] ?? null;
const tieAt = (entry, { metric, step }) => entry.ties?.[metric]?.[step] ?? null;
const lastStep = task => listOf(task.report_steps).at(-1);
const datasetOf = task => task.dataset ?? task.id.split('/').slice(0, 2).join('/');
const metricOf = (task, name) => task.metrics.find(metric => metric.name === name);
const inUnit = unit => (unit ? ` in ${unit}` : '');
const metricLabel = metric => metric.label + inUnit(metric.unit);
const scoreLabel = (metric, step) => `${metric.label} @${step}${inUnit(metric.unit)}`;
const entryOf = (task, key) => task.entries.find(entry => keyOf(entry) === key);

function rankText(task, entry, by) {
  const rank = rankAt(entry, by);
  if (!rank) return MISSING;
  const count = task.entries.filter(other => other.division === entry.division && rankAt(other, by)).length;
  return `${rank[0] === rank[1] ? rank[0] : `${rank[0]}–${rank[1]}`} of ${count}`;
}

// Times count from the given state. Where nothing moves there are none.
const timeAt = (task, step) => listOf(task.times)[step - 1] ?? step;
const timeText = (task, time) => `${formatNumber(time)}${task.time_unit ? ` ${task.time_unit}` : ''}`;

function stepsText(task) {
  const times = listOf(task.times);
  if (!times.length) return null;
  const range = times.length > 1 ? `${formatNumber(times[0])} to ` : '';
  return `${formatCount(times.length)} step${times.length > 1 ? 's' : ''}, ${range}${timeText(task, times.at(-1))} after the given state`;
}

// A letter for each tie group that has at least two members.
function tieLetters(task, by) {
  const groups = task.entries.map(entry => tieAt(entry, by)).filter(group => group !== null);
  const shared = [...new Set(groups.filter((group, index) => groups.indexOf(group) !== index))].sort((a, b) => a - b);
  return new Map(shared.map((group, index) => [group, index < 26 ? String.fromCharCode(97 + index) : String(index + 1)]));
}

// What the score can be ordered by: the interval's first rank, then its last.
function rankValue(entry, by) {
  const rank = rankAt(entry, by);
  return rank ? rank[0] + rank[1] / 1e4 : null;
}

function isBetter(metric, value, other) {
  return metric?.better === 'higher' ? value > other : value < other;
}

// All roll-outs of an entry: the first trajectory, then the worst ones.
function rolloutsOf(entry) {
  const preview = entry?.has_preview ? detailOf(entry).preview : null;
  return [preview].flat().filter(Boolean).flatMap((main, index) => [
    rollout(main, main, index ? `number ${index + 1}` : 'first'),
    ...[main.worst].flat().filter(Boolean).map(worst => ({ ...rollout({ ...main, leapfrog: null, ...worst }, worst, 'worst'), isWorst: true })),
  ]).filter(({ frames }) => frames > 0);
}

function rollout(source, facts, label) {
  const shared = value => (typeof value === 'string' ? block(value) : value);
  const [times, truth, prediction, leapfrog] = [source.times, source.truth, source.prediction, source.leapfrog].map(shared);
  const frames = Math.min(...[times, truth, prediction].map(list => listOf(list).length));
  const numbers = [['trajectory', facts.trajectory_id], ['seed', facts.seed]].filter(([, value]) => Number.isFinite(value));
  const text = numbers.map(([name, value]) => `${name} ${value}`).join(', ');
  const { trajectory_id: id, seed } = facts;
  return { box: source.box, times, truth, prediction, leapfrog, frames, id, seed, label: text ? `${label}: ${text}` : label };
}
