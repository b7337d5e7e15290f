'use strict';

// A column is {key, label, value(entry), content(entry) -> nodes, number?, better?, title?, floor?, ...}.

const PRESETS = [
  ['', 'main', column => column.main],
  ['scores', 'all scores', column => column.main === true && !column.cost || column.score],
  ['cost', 'cost', column => column.head || column.cost || column.isRankedBy],
  ['card', 'card', column => column.head || column.card],
  ['all', 'all', () => true],
];

const DIVISIONS = ['learned-closed', 'learned-open', 'classical'];

const textColumn = (key, label, value, more) => ({ key, label, value, content: entry => [value(entry) || MISSING], ...more });
// What the board has from the authors alone.
const stated = label => `${label}\u00a0*`;
const numberColumn = (key, label, value, more) => ({ key, label, value, number: true, content: entry => [formatCount(value(entry))], ...more });

function allColumns(task) {
  const by = rankBy();
  const weights = weightsOf(task);
  const scores = task.metrics.flatMap(metric => listOf(task.report_steps).map(step => scoreColumn(task, metric, String(step), by)));
  const columns = [
    rankColumn(task, by),
    textColumn('name', 'Model', entry => String(entry.name ?? entry.key), { content: modelContent, head: true, main: true }),
    textColumn('division', 'Division', entry => entry.division, { content: divisionContent, head: true, main: true }),
    textColumn('tier', 'Tier', entry => entry.tier, {
      content: tierContent, head: true, main: true, title: 'How far the board has checked an entry, and what it found',
      fields: entry => ({ tier: entry.tier, findings: listOf(entry.findings).map(({ kind, verdict }) => `${kind}: ${verdict}`).join('; ') }),
    }),
    numberColumn('composite', 'Composite', entry => composite(entry, task, weights), {
      better: 'higher', main: true, title: 'Weighted mean of subscores on frozen scales',
      content: entry => compositeContent(entry, task, weights),
    }),
    ...scores,
    numberColumn('diverged', 'Diverged roll-outs', entry => entry.diverged, { content: divergedContent, score: true }),
    timingColumn('seconds_per_step', stated('Seconds per step'), '', true),
    timingColumn('relative_to_leapfrog', stated('Time × leapfrog'), '×', false),
    timingColumn('speed_up', stated('Speed-up at equal error'), '×', true, 'higher'),
    textColumn('device', stated('Timed on'), entry => entry.timing?.device, { cost: true, wrap: true }),
    numberColumn('board_seconds', 'Seconds per step, by the board', entry => entry.reproduced?.seconds_per_step, {
      better: 'lower', cost: true, title: 'Of a batch, for models that the board has run itself',
      content: entry => boardTime(entry.reproduced),
    }),
    numberColumn('num_parameters', stated('Parameters'), entry => entry.num_parameters, { main: true, cost: true }),
    numberColumn('train_steps', stated('Training steps'), entry => entry.train_steps || null, { cost: true }),
    numberColumn('train_seconds', stated('Training seconds'), entry => entry.train_seconds || null, { cost: true, content: entry => [formatNumber(entry.train_seconds || null)] }),
    numberColumn('seeds', 'Seeds', entry => listOf(entry.seeds).length || null, { card: true }),
    textColumn('physics', stated('Physics given'), entry => listOf(entry.physics_given).join(', '), { card: true, wrap: true }),
    textColumn('symmetries', stated('Symmetries'), entry => listOf(entry.symmetries).join(', '), { card: true, wrap: true }),
    textColumn('authors', stated('Authors'), entry => listOf(entry.authors).join(', '), { card: true, wrap: true }),
    textColumn('date', stated('Date'), entry => entry.date, { newestFirst: true, card: true, main: true }),
  ];
  return columns.filter(column => column.key !== 'composite' || weights.size);
}

function shownColumns() {
  const [, , isShown] = PRESETS.find(([value]) => value === state.columns) ?? PRESETS[0];
  return allColumns(currentTask()).filter(isShown);
}

function rankColumn(task, by) {
  const letters = tieLetters(task, by);
  return numberColumn('rank', 'Rank in division', entry => divisionRank(entry, by), {
    head: true, main: true, title: 'From one more than the number of surely better entries of the division, to its size less the number of surely worse ones',
    fields: entry => ({ rank: rankAt(entry, by) ? rankText(task, entry, by) : null, tie: letters.get(tieAt(entry, by)) ?? null, unranked: entry.unranked ?? null }),
    content(entry) {
      const rank = rankAt(entry, by);
      if (!rank && isRejected(entry)) return [html('span', { class: 'badge bad', title: entry.unranked }, 'rejected')];
      if (!rank) return [html('small', { class: 'reason' }, entry.unranked ? `unranked: ${entry.unranked}` : 'not ranked')];
      const letter = letters.get(tieAt(entry, by));
      return [rankText(task, entry, by), ...(letter ? [html('span', { class: 'tie', title: `Cannot be told apart from the others marked ${letter}` }, `≈${letter}`)] : [])];
    },
  });
}

// Ranks of one division mean nothing beside those of another: each follows the one before as a whole.
function divisionRank(entry, by) {
  const rank = rankValue(entry, by);
  return rank === null ? null : (DIVISIONS.indexOf(entry.division) + 1 || DIVISIONS.length + 1) * 1e6 + rank;
}

function scoreColumn(task, metric, step, by) {
  const key = `${metric.name}@${step}`;
  const floor = task.floor?.[metric.name]?.[step];
  const score = entry => scoreAt(entry, metric.name, step);
  const claim = entry => entry.claimed?.[metric.name]?.[step];
  return numberColumn(key, scoreLabel(metric, step), entry => score(entry)?.mean, {
    title: metric.description, better: metric.better, floor, metric, step, score: true,
    resolves: task.smallest_difference?.[metric.name]?.[step],
    main: Number(step) === lastStep(task) || (by.metric === metric.name && by.step === step),
    isRankedBy: by.metric === metric.name && by.step === step,
    fields: entry => ({
      [key]: score(entry)?.mean, [`${key} std`]: score(entry)?.std, [`${key} low`]: score(entry)?.low,
      [`${key} high`]: score(entry)?.high, [`${key} claimed`]: claim(entry)?.mean,
    }),
    content: entry => [
      html('span', { class: rankAt(entry, { metric: metric.name, step })?.[0] === 1 ? 'best' : null }, formatScore(score(entry))),
      ...(formatInterval(score(entry)) ? [html('small', {}, formatInterval(score(entry)))] : []),
      ...(entry.at_floor?.[metric.name]?.[step] ? [html('small', { title: 'The label error of the ground truth hides what lies below' }, 'at floor')] : []),
      ...claimNote(claim(entry), score(entry), entry),
    ],
  });
}

function claimNote(claim, score, entry) {
  if (!Number.isFinite(claim?.mean) || entry.agrees !== false) return [];
  if (formatNumber(claim.mean) === formatNumber(score?.mean)) return [];
  return [html('small', { class: 'warn', title: 'The claimed value does not agree with the re-scored one' }, `⚠ claimed ${formatNumber(claim.mean)}`)];
}

function timingColumn(field, label, suffix, main, better = 'lower') {
  const value = entry => entry.timing?.[field];
  return numberColumn(field, label, value, {
    better, main, cost: true,
    content(entry) {
      const faults = listOf(entry.timing_faults).join('; ');
      if (!Number.isFinite(value(entry))) return [faults ? html('span', { title: `Withheld: ${faults}` }, `${MISSING} ⚠`) : MISSING];
      const text = formatNumber(value(entry)) + suffix;
      const where = `Measured on ${entry.timing.device ?? 'an unnamed device'}, batch ${entry.timing.batch ?? 'unknown'}`;
      return entry.timing.indicative ? [text, html('small', { title: where }, 'indicative')] : [html('span', { title: where }, text)];
    },
  });
}

function boardTime(reproduced) {
  if (!Number.isFinite(reproduced?.seconds_per_step)) return [MISSING];
  return [formatNumber(reproduced.seconds_per_step), html('small', {}, `batch of ${formatCount(reproduced.batch)}`)];
}

function compositeContent(entry, task, weights) {
  const absent = entry.scores ? [...weights.keys()].filter(name => !entry.scores[name]) : [];
  const note = absent.length ? [html('small', { class: 'reason' }, `without ${absent.map(name => metricOf(task, name).label).join(', ')}`)] : [];
  return [formatNumber(composite(entry, task, weights)), ...note];
}

function modelContent(entry) {
  const key = keyOf(entry);
  const box = html('input', { type: 'checkbox', 'aria-label': `Draw ${labelOf(entry)} in the charts`, title: 'Draw in the charts' });
  box.addEventListener('change', () => toggleShown(entry));
  const open = html('a', { class: 'name open', href: hashOf({ task: currentTask().id, model: key }) }, String(entry.name ?? entry.key));
  open.addEventListener('click', event => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    update({ model: key });
  });
  const version = entry.version ? [html('small', {}, `version ${entry.version}`)] : [];
  return [html('div', {}, box, html('span', {}, open, ...version))];
}

function divisionContent(entry) {
  const moved = entry.claimed_division && entry.claimed_division !== entry.division;
  return [entry.division || MISSING, ...(moved ? [html('small', { class: 'warn reason' }, `entered as ${entry.claimed_division}`)] : [])];
}

function tierContent(entry) {
  return [
    tierBadge(entry),
    ...(entry.agrees === false ? [html('small', { class: 'warn' }, '⚠ claim differs')] : []),
    ...listOf(entry.findings).map(finding => html('div', {}, findingBadge(finding))),
  ];
}

const divergedContent = entry => [html('span', { class: entry.diverged > 0 ? 'warn' : 'muted' }, formatCount(entry.diverged))];
