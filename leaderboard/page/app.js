'use strict';

function drawTheme() {
  byId('theme').value = state.theme;
  if (byId('theme').selectedIndex < 0) byId('theme').selectedIndex = 0;
  const chosen = byId('theme').value;
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

function drawTask() {
  const task = currentTask();
  byId('task').value = task.id;
  byId('task-heading').textContent = task.id;
  byId('task-description').textContent = task.description ?? '';
  const { num_particles: particles, entries } = task;
  const moves = task.kind === 'motion';
  byId('task-facts').textContent = [
    Number.isFinite(particles) ? (moves ? `N = ${formatCount(particles)} particles` : `up to ${formatCount(particles)} atoms`) : null,
    `${formatCount(task.num_trajectories)} ${moves ? 'trajectories' : 'structures'}`,
    stepsText(task),
  ].filter(Boolean).join(' · ');
  const offered = entries.filter(({ arrays }) => listOf(arrays).length).length;
  byId('task-checks').textContent = `${task.checks ?? ''} Arrays offered for download: ${formatCount(offered)} of ${formatCount(entries.length)} entries.`;
  byId('metrics').replaceChildren(...task.metrics.flatMap(describeMetric));
}

function describeMetric({ label, description, better, cap }) {
  const direction = better === 'higher' ? 'Higher is better' : 'Lower is better';
  const limit = Number.isFinite(cap) ? `; capped at ${formatNumber(cap)}` : '';
  return [html('h3', {}, label), html('p', {}, description ?? ''), html('p', { class: 'muted' }, `${direction}${limit}.`)];
}

const OF_TABLE = ['task', 'by', 'columns', 'weights'];
const OF_FILTER = ['q', 'division', 'tier', 'symmetry', 'physics', 'device', 'ranked'];
const OF_CHARTS = ['task', 'model', 'show', 'theme'];
parts.push(
  { needs: ['theme'], draw: drawTheme },
  { needs: ['task'], draw: drawTask },
  { needs: ['task', ...OF_FILTER], draw: drawFilters },
  { needs: ['task', 'by', 'columns'], draw: drawChoosers },
  { needs: ['task', 'weights'], draw: refreshWeights },
  { needs: OF_TABLE, draw: drawTable },
  { needs: [...OF_TABLE, ...OF_FILTER, 'sort', 'order'], draw: arrangeTable },
  { needs: [...OF_TABLE, 'show', 'model'], draw: markShown },
  { needs: ['task', 'model', 'by'], draw: drawModel },
  { needs: ['task', 'model', 'by', 'theme', ...OF_FILTER], draw: drawFront },
  { needs: ['task', 'model'], draw: drawPlayer },
  { needs: ['theme'], draw: drawFrame },
  { needs: [...OF_CHARTS, 'by'], draw: drawCurves },
  { needs: [...OF_CHARTS, 'by', 'scaling'], draw: drawScaling },
);

function redraw() {
  resizeCharts();
  drawFrame();
}

function listen() {
  listenToFilters();
  listenToFront();
  listenToPlayer();
  listenToExport();
  byId('task').addEventListener('change', event => {
    update({ ...Object.fromEntries(OF_TASK.map(field => [field, ''])), task: event.target.value });
  });
  byId('scaling').addEventListener('change', event => update({ scaling: event.target.value }));
  byId('cursor').addEventListener('input', event => moveCursor(Number(event.target.value)));
  byId('back').addEventListener('click', () => update({ model: '' }));
  byId('reset-weights').addEventListener('click', () => update({ weights: '' }));
  window.addEventListener('resize', redraw);
  window.addEventListener('popstate', () => draw(restore()));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(['theme']));
}

function start() {
  byId('title').textContent = document.title = board.title ?? 'Leaderboard';
  byId('edition').textContent = `Version ${board.version ?? MISSING} · metric version ${board.metric_version ?? MISSING} · generated ${board.generated ?? MISSING}`;
  byId('no-task').hidden = board.tasks.length > 0;
  byId('theme').addEventListener('change', event => update({ theme: event.target.value }));
  restore();
  if (!board.tasks.length) {
    parts.splice(1);  // the theme alone
    draw(FIELDS);
    return;
  }
  byId('task-view').hidden = false;
  byId('task-chooser').hidden = board.tasks.length < 2;
  fillSelect(byId('task'), board.tasks.map(({ id }) => [id, id]));
  drawLegendOfVerdicts();
  listen();
  draw(FIELDS);
}

start();
