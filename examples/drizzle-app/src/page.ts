/** A table for each question. */
import { counts, durations, failures, newestOrders } from './questions.js';

const asText = (value: unknown) =>
  String(value ?? '').replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

function table(title: string, rows: Record<string, unknown>[]): string {
  const names = Object.keys(rows[0] ?? {});
  const head = names.map((name) => `<th>${asText(name)}</th>`).join('');
  const body = rows
    .map((row) => `<tr>${names.map((name) => `<td>${asText(row[name])}</td>`).join('')}</tr>`)
    .join('\n');
  return `<h2>${asText(title)}</h2>\n${rows.length > 0 ? `<table><tr>${head}</tr>\n${body}</table>` : '<p>none</p>'}`;
}

export async function page(): Promise<string> {
  const tables = [
    table('Newest orders', await newestOrders()),
    table('Jobs by state', await counts()),
    table('Failures of the last hour', await failures()),
    table('How long jobs take, in ms', await durations()),
  ];
  return `<!doctype html>
<meta charset="utf-8">
<title>Shop</title>
<style>body { font: 16px/1.4 system-ui; margin: 2rem } td, th { padding: .2rem 1rem .2rem 0; text-align: left }</style>
<h1>Shop</h1>
${tables.join('\n')}
`;
}
