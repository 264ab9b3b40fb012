// Reads a Parquet file with npm hyparquet and prints [{column: value}, ...] as JSON: big integers as text, bytes as
// hex, dates and times as ISO text, numbers that JSON lacks as text.
//   node read_parquet.mjs NODE_MODULES FILE
import fs from 'fs';
const { parquetReadObjects, parquetMetadata } = await import(`${process.argv[2]}/hyparquet/src/index.js`);

const bytes = fs.readFileSync(process.argv[3]);
const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
function plain(v) {
  if (typeof v === 'bigint') return v.toString();
  if (typeof v === 'number' && (!Number.isFinite(v) || Object.is(v, -0))) return Object.is(v, -0) ? '-0' : String(v);
  if (v instanceof Date) return v.toISOString();
  if (v instanceof Uint8Array) return Buffer.from(v).toString('hex');
  if (v instanceof Map) return [...v].map(([k, x]) => [plain(k), plain(x)]);
  if (Array.isArray(v)) return v.map(plain);
  if (v && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
  return v === undefined ? null : v;
}
const rows = await parquetReadObjects({ file, utf8: false });
const meta = parquetMetadata(file);
console.log(JSON.stringify({ rows: rows.map(plain), groups: meta.row_groups.length, created: meta.created_by ?? '',
  codecs: [...new Set(meta.row_groups.flatMap((g) => g.columns.map((c) => c.meta_data.codec)))] }));
