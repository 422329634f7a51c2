/** Listing, in due order, in bounded steps; counting. They write nothing. */

/** Rows that one step looks at. */
export const BUDGET = 500;
/** Keys with one prefix that are sorted outside, in place of a walk in due order. */
export const FEW = 2_000;

/**
 * {sets, whether what is due is wanted, its queue or false, due and number to begin behind, how many}. Answers rows without their
 * long bodies, and whether there is more behind them.
 */
export const list = `
local sets, with_due, queue, after_due, after, most = p[3], p[4], p[5], p[6], p[7], p[8]

local function rank_behind(key)
  local due = string.format("%.0f", after_due)
  local from, to = call("ZCOUNT", key, "-inf", "(" .. due), call("ZCOUNT", key, "-inf", due)
  -- Within one score members are in their own order.
  while from < to do
    local middle = math.floor((from + to) / 2)
    if call("ZRANGE", key, middle, middle)[1] > after then to = middle else from = middle + 1 end
  end
  return from
end

if with_due then
  for _, name in ipairs(queue and {queue} or call("ZRANGE", base .. "heads", 0, -1)) do sets[#sets + 1] = "due:" .. name end
end
local sources = {}
for i, key in ipairs(sets) do sources[i] = {key, rank_behind(base .. key)} end
local found, more = merged(sources, #sources == 1 and most or math.max(16, math.ceil(most / math.max(1, #sources))))
local members = {}
for i = 1, math.min(#found, most) do members[i] = found[i][2] end
return "\\146" .. answer_heads(members) .. pack(more or #found > most)
`;

/** {prefix, how many from which on}. False: they are many. */
export const withPrefix = `
local from, to = "[" .. p[3], "(" .. p[3] .. "\\255"
local keys = base .. "keys"
if call("ZLEXCOUNT", keys, from, to) > ${FEW} then return pack(false) end
local members = {}
for i, entry in ipairs(call("ZRANGE", keys, from, to, "BYLEX", "LIMIT", p[4], ${BUDGET})) do members[i] = number_in(entry) end
return answer_heads(members)
`;

/** Rows in all, and of each state in its order; scheduled ones are what is left. */
export const counts = `
local answer = {call("HLEN", ROWS), 0}
for state = WAITING, SKIPPED do answer[#answer + 1] = call("ZCARD", base .. "in:" .. state) end
return pack(answer)
`;
