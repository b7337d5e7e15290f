'use strict';

// All that is known of one entry.

function drawModel(changed) {
  const entry = currentModel();
  byId('model-view').hidden = !entry;
  byId('board').hidden = Boolean(entry);
  document.title = entry ? `${labelOf(entry)} – ${board.title}` : String(board.title ?? 'Leaderboard');
  if (!entry) return;
  const task = currentTask();
  byId('model-heading').textContent = labelOf(entry);
  byId('model').replaceChildren(
    ...standing(entry, task), ...findingsOf(entry),
    html('div', { class: 'cards' },
      html('div', {}, html('h3', {}, 'Card, as stated by the authors'), facts(cardOf(entry))),
      html('div', {}, html('h3', {}, 'Measured, as stated by the authors'), facts(measuredOf(entry))),
      html('div', {}, html('h3', {}, 'On the board'), facts(boardOf(entry)))),
    html('h3', {}, 'Scores, as claimed and as re-scored'), scoreTable(entry, task),
    html('h3', {}, 'Run again by the board'), runAgain(entry),
    ...reproduceSection(entry, task),
    html('h3', {}, 'Every seed'), seedTable(entry, task),
    ...section('Worst trajectories', worstTable(entry, task)),
    ...section('Other tasks and versions', elsewhereTable(entry, task)),
    ...section('Configuration', configOf(entry)));
  if (changed.includes('model')) {
    scrollTo(0, 0);
    byId('model-heading').focus({ preventScroll: true });
  }
}

const section = (title, content) => (content ? [html('h3', {}, title), content] : []);

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== MISSING && !isMissing(value));
  return html('dl', {}, ...known.flatMap(([name, value]) => [html('dt', {}, name), html('dd', {}, value)]));
}

function standing(entry, task) {
  const by = rankBy();
  const where = `${metricOf(task, by.metric)?.label} @${by.step} on ${task.id}`;
  const why = isRejected(entry) ? 'rejected' : entry.unranked;
  const text = rankAt(entry, by) ? `rank ${rankText(task, entry, by)} in its division by ${where}` : `not ranked by ${where}${why ? `: ${why}` : ''}`;
  return [html('p', {}, tierBadge(entry), ' ', html('span', { class: 'badge' }, entry.division || 'no division'), ' ', text)];
}

function cardOf(entry) {
  return [
    ['Authors', listOf(entry.authors).join(', ')],
    ['Date', entry.date],
    ['Physics given', listOf(entry.physics_given).join(', ') || 'nothing beyond positions and velocities'],
    ['Symmetries', listOf(entry.symmetries).join(', ') || 'none by construction'],
    ['Notes', entry.notes],
    ['Code', entry.code && link(entry.code, entry.code)],
    ['Paper', entry.paper && link(entry.paper, entry.paper)],
  ];
}

function measuredOf(entry) {
  const timing = entry.timing ?? {};
  const probes = Object.entries(entry.equivariance ?? {}).filter(([, value]) => Number.isFinite(value));
  return [
    ['Parameters', formatCount(entry.num_parameters)],
    ['Training', entry.train_steps > 0 ? `${formatCount(entry.train_steps)} steps, ${formatNumber(entry.train_seconds)} s` : null],
    ['Seconds per step', Number.isFinite(timing.seconds_per_step) ? formatNumber(timing.seconds_per_step) + (timing.indicative ? ', indicative' : '') : null],
    ['Time × leapfrog', formatNumber(timing.relative_to_leapfrog)],
    ['Speed-up at equal error', Number.isFinite(timing.speed_up) ? `${formatNumber(timing.speed_up)} × ${timing.speed_up_over}` : null],
    ['Timed on', timing.device && `${timing.device}, batch ${timing.batch ?? 'unknown'}`],
    ['No time is shown', listOf(entry.timing_faults).join('; ')],
    ['Equivariance error', probes.map(([kind, value]) => `${kind} ${formatNumber(value)}`).join(', ')],
  ];
}

function boardOf(entry) {
  const moved = entry.claimed_division && entry.claimed_division !== entry.division;
  const arrays = listOf(entry.arrays).flatMap(address => [link(address, address), ' ']);
  return [
    ['Entry', keyOf(entry)],
    ['Division', moved ? `${entry.division}, entered as ${entry.claimed_division}` : entry.division],
    ['Seeds', listOf(entry.seeds).join(', ')],
    ['Diverged', Number.isFinite(entry.diverged) ? `${formatCount(entry.diverged)} roll-out${entry.diverged === 1 ? '' : 's'}` : null],
    ['Arrays', arrays.length ? html('span', {}, ...arrays) : 'not offered for download'],
  ];
}

const reportCells = task => task.metrics.flatMap(metric => listOf(task.report_steps).map(step => ({ metric, step: String(step), label: scoreLabel(metric, step) })));

function scoreTable(entry, task) {
  const letters = tieLetters(task, rankBy());
  const rows = reportCells(task).map(({ metric, step, label }) => {
    const by = { metric: metric.name, step };
    const [score, claim] = [scoreAt(entry, metric.name, step), entry.claimed?.[metric.name]?.[step]];
    const rank = by.metric === rankBy().metric && by.step === rankBy().step ? letters.get(tieAt(entry, by)) : null;
    return [
      label, [formatSpread(claim), ...claimNote(claim, score, entry)], formatSpread(score), formatInterval(score) || MISSING,
      rankText(task, entry, by) + (rank ? ` ≈${rank}` : ''), formatNumber(task.floor?.[metric.name]?.[step]),
    ];
  });
  return table(['Score', 'Claimed', 'Re-scored', '95 % interval', 'Rank in division', 'Label error'], rows);
}

function seedTable(entry, task) {
  const seeds = listOf(entry.seeds).length ? entry.seeds : ['the only one'];
  const rows = reportCells(task).map(({ metric, step, label }) => {
    const values = listOf(entry.per_seed?.[metric.name]?.[step]);
    return [label, ...seeds.map((_, index) => formatNumber(values[index]))];
  });
  return table(['Score', ...seeds.map(seed => (typeof seed === 'number' ? `seed ${seed}` : seed))], rows);
}

function worstTable(entry, task) {
  const worst = listOf(entry.worst);
  if (!worst.length) return null;
  const playable = rolloutsOf(entry);
  const rows = worst.map(({ trajectory_id: id, seed, value }) => {
    const index = playable.findIndex(({ isWorst, id: own, seed: other }) => isWorst && own === id && other === seed);
    const play = index < 0 ? MISSING : button('Play', () => playRollout(index), { 'aria-label': `Play trajectory ${id}` });
    return [Number.isFinite(id) ? String(id) : MISSING, Number.isFinite(seed) ? String(seed) : MISSING, formatNumber(value), play];
  });
  return table(['Trajectory', 'Seed', task.metrics[0] ? scoreLabel(task.metrics[0], lastStep(task)) : 'Value', 'Roll-out'], rows);
}

function elsewhereTable(entry, task) {
  const found = board.tasks.flatMap(other => other.entries.filter(same => same.key === entry.key && same !== entry).map(same => [other, same]));
  if (!found.length) return null;
  const rows = found.map(([other, same]) => {
    const [metric, step] = [other.metrics[0], lastStep(other)];
    const open = html('a', { href: hashOf({ task: other.id, model: keyOf(same) }) }, other.id);
    const score = metric ? formatSpread(scoreAt(same, metric.name, step)) : MISSING;
    return [open, same.version ?? MISSING, metric ? scoreLabel(metric, step) : MISSING, score, metric ? rankText(other, same, { metric: metric.name, step }) : MISSING];
  });
  return table(['Task', 'Version', 'Score', 'Value', 'Rank'], rows);
}

function configOf(entry) {
  const known = entry.config && Object.keys(entry.config).length;
  return known ? html('pre', { tabindex: 0 }, JSON.stringify(entry.config, null, 1)) : null;
}
