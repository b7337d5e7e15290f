'use strict';

// How the board has run a model again, and how anyone can.

function runAgain(entry) {
  const { reproduced } = entry;
  if (!reproduced) return html('p', { class: 'muted' }, 'The board has not run this model: its scores are of the uploaded trajectories.');
  const cost = Number.isFinite(reproduced.seconds_per_step) ? `${formatNumber(reproduced.seconds_per_step)}, a batch of ${formatCount(reproduced.batch)}` : MISSING;
  return html('div', {},
    html('p', {}, 'The board has run the uploaded model of every seed, and compared what came out with the upload.'),
    facts([
      ['First step differs by', `${formatNumber(reproduced.first_step)} of the way gone in it, at most`],
      ['Scores differ by', Number.isFinite(reproduced.scores) ? `${formatNumber(100 * reproduced.scores, 2)} % at most` : MISSING],
      ['Seconds per step', cost],
    ]));
}

// Entries are untrusted and this is run by who copies it: what is no plain flag makes no command, and a shell sees every value quoted.
const isFlagName = name => /^[A-Za-z_]\w*$/.test(name);
const isFlagValue = value => Number.isFinite(value) || typeof value === 'boolean' || (typeof value === 'string' && !/[\p{C}\p{Zl}\p{Zp}]/u.test(value))
  || (Array.isArray(value) && value.every(Number.isFinite));
const shellWord = text => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function flagOf(name, value) {
  return typeof value === 'boolean' ? `--${value ? '' : 'no'}${name}` : shellWord(`--${name}=${value}`);
}

// Null where the entry did not come from nbody_bench.run, or cannot be written as its flags.
function commandOf(entry, task) {
  if (!entry.recipe || typeof entry.recipe !== 'object') return null;
  const isTrained = entry.num_parameters > 0 || entry.train_steps > 0;
  const { train_steps: trainSteps, batch_size: batchSize, ...recipe } = isTrained ? entry.recipe : {};
  // Which weights are best depends on when they were looked at.
  const isBest = isTrained && entry.checkpoint === 'best';
  const given = (prefix, values) => Object.entries(values ?? {}).map(([name, value]) => [`${prefix}.${name}`, value, isFlagName(name)]);
  const flags = [
    ['model', entry.key], ['dataset', datasetOf(task)], ['task', task.name], ['rollout_steps', task.report_steps], ['seeds', entry.seeds],
    ['output_dir', `runs/${entry.key}`], ['version', entry.version === '1' ? null : entry.version],
    ['start_from', entry.started_from ? 'DIR' : null], ['train_steps', trainSteps], ['batch_size', batchSize],
    ['checkpoint', isBest ? 'best' : null], ['validate_every', isBest ? entry.validate_every : null],
    ...given('config', entry.config), ...given('recipe', recipe),
  ].filter(([, value]) => value !== null && value !== undefined);
  if (!flags.every(([, value, named]) => isFlagValue(value) && named !== false)) return null;
  // One line, that is broken between flags where it is shown.
  return ['python -m nbody_bench.run', ...flags.flatMap(([name, value]) => [' ', html('span', {}, flagOf(name, value))])];
}

function reproduceSection(entry, task) {
  const command = commandOf(entry, task);
  if (!command) return [];
  const text = html('code', {}, ...command);
  const status = html('span', { class: 'muted', role: 'status' });
  const notes = ['It makes the data, trains each seed, rolls it out and prints its scores.'];
  if (entry.started_from) notes.push(`For DIR put the run whose weights it began with: ${entry.started_from}.`);
  return [
    html('h3', {}, 'Reproduce'),
    html('p', { class: 'muted' }, notes.join(' '), ' A model that is not among the baselines is named by the path of its file.'),
    html('pre', { class: 'command', tabindex: 0, id: 'command' }, text),
    html('div', { class: 'bar' }, button('Copy the command', () => copy(text, status), { id: 'copy' }), status),
  ];
}

// The older way needs no permission, and works from a file. What was not copied is left selected.
async function copy(node, status) {
  getSelection().selectAllChildren(node);
  status.textContent = 'Selected: copy it with the keyboard.';
  const done = document.execCommand('copy') || await (navigator.clipboard?.writeText(node.textContent).then(() => true, () => false) ?? false);
  if (done) status.textContent = 'Copied.';
}
