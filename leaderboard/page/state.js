'use strict';

// The state of the page is its address, nothing else: a link shows what its sender saw, and the back button works.
// Each part of the page says which fields it draws; a change draws those parts again and no other.

const FIELDS = [
  'task', 'model', 'by', 'sort', 'order', 'q', 'division', 'tier', 'symmetry', 'physics', 'device', 'ranked',
  'columns', 'show', 'weights', 'scaling', 'theme',
];
// Of one task and senseless on another.
const OF_TASK = ['model', 'by', 'sort', 'order', 'division', 'tier', 'symmetry', 'physics', 'device', 'weights'];

const state = Object.fromEntries(FIELDS.map(field => [field, '']));
const parts = [];  // {needs: fields, draw: function}, in the order of drawing

function hashOf(fields) {
  const set = FIELDS.filter(field => fields[field]).map(field => [field, fields[field]]);
  return `#${new URLSearchParams(set)}`;
}

function update(changes, { quiet = false } = {}) {
  const changed = Object.keys(changes).filter(field => state[field] !== changes[field]);
  if (!changed.length) return;
  Object.assign(state, changes);
  // What changes with every letter or pixel takes no place of its own in the history.
  history[quiet ? 'replaceState' : 'pushState'](null, '', hashOf(state));
  draw(changed);
}

function restore() {
  const query = new URLSearchParams(location.hash.slice(1));
  const changed = FIELDS.filter(field => state[field] !== (query.get(field) ?? ''));
  for (const field of changed) state[field] = query.get(field) ?? '';
  return changed;
}

function draw(changed) {
  for (const part of parts) {
    if (part.needs.some(field => changed.includes(field))) part.draw(changed);
  }
}

// ---- read off the state, with what holds where nothing is said

// Who asks for no task sees the one that most models were tried on.
const fullest = () => board.tasks.reduce((most, task) => (task.entries.length > most.entries.length ? task : most), board.tasks[0]);
const currentTask = () => board.tasks.find(({ id }) => id === state.task) ?? fullest();

function rankBy() {
  const task = currentTask();
  const [name, step] = state.by.split('@');
  const metric = metricOf(task, name) ?? task.metrics[0];
  return { metric: metric?.name, step: listOf(task.report_steps).map(String).includes(step) ? step : String(lastStep(task)) };
}

const currentModel = () => (state.model ? entryOf(currentTask(), state.model) : undefined);

// ---- the models drawn in the charts: each keeps its colour while others come and go

const SLOTS = 8;
const USUALLY_SHOWN = 5;

function shownSlots() {
  const task = currentTask();
  const slots = state.show === '-' ? [] : state.show.split(',').map(decoded).slice(0, SLOTS);
  const usual = task.entries.filter(entry => !isRejected(entry)).sort((a, b) => compare(rankValue(a, rankBy()), rankValue(b, rankBy()))).slice(0, USUALLY_SHOWN);
  const known = slots.map(key => entryOf(task, key) ?? null);
  const chosen = state.show === '' ? usual : known;
  const model = currentModel();
  if (!model || chosen.includes(model)) return chosen;
  return withEntry(chosen, model) ?? [model, ...chosen.slice(1)];
}

// An address can be typed by hand.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

const shown = () => shownSlots().map((entry, slot) => ({ entry, slot })).filter(({ entry }) => entry);

function withEntry(slots, entry) {
  const free = [...slots, null].findIndex(other => !other);
  return free < SLOTS ? Object.assign([...slots], { [free]: entry }) : null;
}

function toggleShown(entry) {
  const slots = shownSlots();
  const next = slots.includes(entry) ? slots.map(other => (other === entry ? null : other)) : withEntry(slots, entry) ?? slots;
  const last = next.findLastIndex(Boolean);
  const keys = next.slice(0, last + 1).map(other => (other ? encodeURIComponent(keyOf(other)) : ''));
  update({ show: keys.join(',') || '-' });
}
