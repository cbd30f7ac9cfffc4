import { ASSETS } from '../assets/generated.js';
import { ICON } from '../assets/icon.js';

const all = [...ASSETS, ICON];

/** A file by its name. Its address has its hash, so that a browser keeps it for as long as it likes. */
export function assetResponse(hash: string, name: string, request: Request): Response | undefined {
  const asset = all.find((known) => known.name === name);
  if (!asset) return undefined;
  const etag = `"${asset.hash}"`;
  const headers = {
    etag,
    // A page of another version may ask for a file that it knows under another hash.
    'cache-control': hash === asset.hash ? 'public, max-age=31536000, immutable' : 'no-cache',
  };
  const known = request.headers
    .get('if-none-match')
    ?.split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''));
  if (known?.includes(etag)) return new Response(null, { status: 304, headers });
  return new Response(asset.text, { headers: { ...headers, 'content-type': asset.type } });
}
