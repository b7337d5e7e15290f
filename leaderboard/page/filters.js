'use strict';

// A filter is a field of the state and what it asks of an entry.

const NONE = '(none)';
const CHOICES = [
  { field: 'division', any: 'all', values: entry => [entry.division] },
  { field: 'tier', any: 'all', values: entry => [entry.tier] },
  { field: 'symmetry', any: 'any', values: entry => orNone(entry.symmetries) },
  { field: 'physics', any: 'any', values: entry => orNone(entry.physics_given) },
  { field: 'device', any: 'any', values: entry => [entry.timing?.device || NONE] },
];
const FILTER_FIELDS = ['q', 'ranked', ...CHOICES.map(({ field }) => field)];

const orNone = values => (listOf(values).length ? values : [NONE]);

function textOf(entry) {
  return [keyOf(entry), entry.name, entry.notes, entry.division, ...listOf(entry.authors)].join('\n').toLowerCase();
}

function passes(entry) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every(word => textOf(entry).includes(word))
    && (!state.ranked || Boolean(rankAt(entry, rankBy())))
    && CHOICES.every(({ field, values }) => !state[field] || values(entry).includes(state[field]));
}

function drawFilters() {
  const { entries } = currentTask();
  for (const { field, any, values } of CHOICES) {
    const found = [...new Set(entries.flatMap(values).filter(Boolean).map(String))].sort();
    fillSelect(byId(field), [['', any], ...found.map(value => [value, value])], state[field]);
  }
  // Not while it is typed in: the caret would jump.
  if (byId('q').value !== state.q) byId('q').value = state.q;
  byId('ranked').checked = Boolean(state.ranked);
}

function drawChoosers() {
  const task = currentTask();
  const by = rankBy();
  const options = task.metrics.flatMap(metric => listOf(task.report_steps).map(step => [`${metric.name}@${step}`, `${metric.label} @${step}`]));
  fillSelect(byId('by'), options, `${by.metric}@${by.step}`);
  fillSelect(byId('columns'), PRESETS.map(([value, label]) => [value, label]), state.columns);
}

function listenToFilters() {
  for (const { field } of CHOICES) byId(field).addEventListener('change', event => update({ [field]: event.target.value }));
  byId('q').addEventListener('input', event => update({ q: event.target.value }, { quiet: true }));
  byId('ranked').addEventListener('change', event => update({ ranked: event.target.checked ? '1' : '' }));
  byId('clear').addEventListener('click', () => update(Object.fromEntries(FILTER_FIELDS.map(field => [field, '']))));
  byId('by').addEventListener('change', event => update({ by: event.target.value, sort: '', order: '' }));
  byId('columns').addEventListener('change', event => update({ columns: event.target.value }));
}
