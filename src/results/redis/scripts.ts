/**
 * The one thing that Redis must do in one step: keep a document, unless a SUCCESS stands, and tell who listens (PROTOCOL 10.1). Celery
 * looks first and writes then, so that of two workers the slower may overwrite a SUCCESS.
 *
 * Documents begin with their status, whoever wrote them; only one that has SUCCESS somewhere else is read as a whole. The parser of
 * Redis refuses what is nested too deep, and some texts that Python writes: such a document, and one of another serializer, is
 * taken for no SUCCESS. YAML has each key at the head of a line, and text within is indented. Plain EVAL, without the flags of Redis 7: results may be kept by any Redis.
 */
import { createHash } from "node:crypto";

export interface Script {
  readonly text: string;
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/** KEYS: the document's key, which is its channel too. ARGV: the document, how long it is kept in ms (0 = for ever), its format. Answers 0 when a SUCCESS stood. */
export const STORE = script(`-- lovage: store a result
local old = redis.call("GET", KEYS[1])
if old and ARGV[3] == "yaml" then
  if string.find("\\n" .. old .. "\\n", "\\nstatus: SUCCESS\\n", 1, true) then return 0 end
elseif old then
  local stands = string.find(old, '^%s*{%s*"status"%s*:%s*"SUCCESS"') ~= nil
  if not stands and string.find(old, 'SUCCESS', 1, true) then
    local read = cjson.decode
    if ARGV[3] == "msgpack" then read = cmsgpack.unpack end
    local ok, document = pcall(read, old)
    stands = ok and type(document) == "table" and document.status == "SUCCESS"
  end
  if stands then return 0 end
end
if ARGV[2] == "0" then redis.call("SET", KEYS[1], ARGV[1])
else redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2]) end
redis.call("PUBLISH", KEYS[1], ARGV[1])
return 1`);
