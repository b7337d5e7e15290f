'use strict';

// What the table shows, in its order, as a file.

function csvCell(value) {
  // A leading sign of operation would make a spreadsheet run the text as a formula.
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? '');
  return `"${text.replaceAll('"', '""')}"`;
}

function toCsv(entries, columns) {
  const fieldsOf = (column, entry) => column.fields?.(entry) ?? { [column.key]: column.value(entry) };
  const records = entries.map(entry => ({ key: entry.key, version: entry.version, ...Object.assign({}, ...columns.map(column => fieldsOf(column, entry))) }));
  return [Object.keys(records[0]), ...records.map(Object.values)].map(cells => cells.map(csvCell).join(',')).join('\r\n') + '\r\n';
}

function toJson(entries) {
  const { entries: _, ...task } = currentTask();
  const plain = entries.map(({ detail, has_preview: has, ...entry }) => entry);
  const facts = { title: board.title, version: board.version, metric_version: board.metric_version, generated: board.generated };
  return JSON.stringify({ ...facts, task, ranked_by: rankBy(), entries: plain }, null, 1) + '\n';
}

const LATEX = {
  '\\': '\\textbackslash{}', '~': '\\textasciitilde{}', '^': '\\textasciicircum{}', '±': '$\\pm$', '×': '$\\times$', '–': '--', '≈': '$\\approx$', 'Å': '\\AA{}', '²': '$^2$',
};
const latexText = text => String(text ?? '').replace(/[\\~^±×–≈Å²&%$#_{}]/g, sign => LATEX[sign] ?? `\\${sign}`).replace(/\s+/g, ' ');
const latexNumber = text => latexText(text).replace(/(\d)e(-?\d+)/g, '$1{\\cdot}10^{$2}').replace(/([\d.]+)\{\\cdot\}10\^\{(-?\d+)\}/g, '$$$1{\\cdot}10^{$2}$$');

function toLatex(entries, columns) {
  const columnsOf = columns.filter(({ key }) => key !== 'tier' && key !== 'date');
  const cell = (column, entry) => {
    if (column.key === 'name') return latexText(labelOf(entry));
    if (column.key === 'rank') return latexText(rankText(currentTask(), entry, rankBy()));
    const text = column.metric ? formatSpread(scoreAt(entry, column.metric.name, column.step)) : column.number ? formatNumber(column.value(entry)) : column.value(entry) || MISSING;
    const best = column.metric && rankAt(entry, { metric: column.metric.name, step: column.step })?.[0] === 1;
    const shownText = column.number ? latexNumber(text) : latexText(text);
    return best ? `\\textbf{${shownText}}` : shownText;
  };
  const row = cells => `  ${cells.join(' & ')} \\\\`;
  return [
    `% ${latexText(currentTask().id)}, ${latexText(board.title)} ${latexText(board.version)}, metric version ${latexText(board.metric_version)}`,
    `\\begin{tabular}{${columnsOf.map(({ number }) => (number ? 'r' : 'l')).join('')}}`,
    '  \\toprule', row(columnsOf.map(({ label }) => latexText(label))), '  \\midrule',
    ...entries.map(entry => row(columnsOf.map(column => cell(column, entry)))),
    '  \\bottomrule', '\\end{tabular}', '',
  ].join('\n');
}

const EXPORTS = { csv: [toCsv, 'text/csv'], json: [toJson, 'application/json'], tex: [toLatex, 'text/x-tex'] };

function download(kind) {
  const [write, type] = EXPORTS[kind];
  const url = URL.createObjectURL(new Blob([write(visibleEntries(), rowsShown.columns)], { type }));
  html('a', { href: url, download: `${currentTask().id.replace(/[^\w.-]+/g, '-')}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function listenToExport() {
  for (const node of document.querySelectorAll('[data-export]')) node.addEventListener('click', () => download(node.dataset.export));
}
