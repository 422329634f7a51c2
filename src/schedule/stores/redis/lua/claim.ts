/** Claiming what is due, and giving back or ending what was lost. */

/** What one script claims, ends or looks at, so that it stays short: a longer claim is made of several. */
export const STEP = 200;

/** How many leases are looked at when an answer was lost. */
const LEASES_READ = 10_000;

/** Members of several sorted sets in one order. */
export const merge = `
local function comes_before(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end

-- By score, then by member: up to so many of each of the sets, from a rank on. Whether there is more behind them.
local function merged(sources, chunk)
  local all, bound = {}, nil
  for _, source in ipairs(sources) do
    local key, from = source[1], source[2]
    local part = call("ZRANGE", base .. key, from, from + chunk - 1, "WITHSCORES")
    for i = 1, #part, 2 do all[#all + 1] = {tonumber(part[i + 1]), part[i]} end
    if #part == 2 * chunk and (not bound or comes_before(all[#all], bound)) then bound = all[#all] end
  end
  if #sources > 1 then table.sort(all, comes_before) end
  -- What is behind the last known one of a set is not known to be next.
  while bound and comes_before(bound, all[#all]) do all[#all] = nil end
  return all, bound ~= nil
end
`;

/** Recovering what is lost, from both claims and sweeps. */
export const losing = `
local function number_of_lease(lease)
  return lease:match("^(%x+):")
end

-- Give back or end those of the leases, in this order.
local function recover_all(leases, recovered)
  local members = {}
  for i, lease in ipairs(leases) do members[i] = number_of_lease(lease) end
  load(members)
  for _, m in ipairs(members) do
    recover(m)
    recovered[#recovered + 1] = m
  end
  finish()
end
`;

/** {owner, its queues or false, limit, lease, limits, whether it is announced, with which queues, name of this call, whether it sends on} */
export const claim = `
local owner, queues, limit, lease_ms = p[3], p[4], p[5], p[6]
limits = p[7]
local claimed, ended, looked = {}, {}, 0
local recovered, answered = {}, head_of_list(0)

local function claim_row(m, r)
  note_start(r[OCCURRENCE])
  widen(r)
  leave(m, r)
  r[STATE], r[ATTEMPTS], r[TOKEN], r[ABORT] = RUNNING, r[ATTEMPTS] + 1, r[TOKEN] + 1, 0
  r[CLAIMED], r[LEASE], r[OWNER], r[CALL] = now, now + lease_ms, owner, p[10]
  enter(m, r)
  claimed[#claimed + 1] = m
end

local function look_at(found)
  local members = {}
  for _, entry in ipairs(found) do
    if entry[1] > now then break end
    members[#members + 1] = entry[2]
  end
  load(members)
  for _, m in ipairs(members) do
    if #claimed == limit then break end
    local r = get(m)
    local state, reason = fate_when_due(r)
    local grace
    if not state then state, reason, grace = fate_of_overlap(r) end
    if state == HELD then
      hold(m, r, reason, grace)
    elseif state then
      end_row(m, r, state, reason)
      ended[#ended + 1] = m
    else
      claim_row(m, r)
    end
  end
  looked = looked + #members
  flush()
  return #members
end

sends_on = p[11]
if p[8] then keep_alive(owner, p[9]) end
if limit > 0 then
  recover_all(call("ZRANGE", base .. "leases", "-inf", now, "BYSCORE", "LIMIT", 0, ${STEP}), recovered)
  looked = #recovered
  -- As they stand now: one that waits may be claimed in a moment.
  answered = answer_rows(recovered)
  local chunk = limit
  while #claimed < limit and looked < ${STEP} do
    local sources = {}
    for i, queue in ipairs(queues_for(queues, now, 1000)) do sources[i] = {"due:" .. queue[1], 0} end
    if #sources == 0 then break end
    if look_at((merged(sources, #sources <= 4 and chunk or math.max(8, math.ceil(chunk / #sources))))) == 0 then break end
    chunk = ${STEP}
  end
  if #claimed > 0 then call("SREM", base .. "resigned", owner) end
  finish()
end
local more = #claimed < limit and looked >= ${STEP}
return "\\150" .. answer_rows(claimed) .. answered .. answer_rows(ended) .. pack(next_due(queues)) .. pack(now) .. pack(more)
`;

/** What the call of that name claimed, if its answer was lost: its leases hold from now on. {owner, name of the call, lease} */
export const readBack = `
local owner, call_name, until_ms = p[3], p[4], now + p[5]
local found = {}
for _, lease in ipairs(call("ZRANGE", base .. "leases", 0, ${LEASES_READ - 1})) do
  local m, holder = lease:match("^(%x+):(.*)$")
  local r = holder == owner and get(m)
  if r and r[CALL] == call_name then
    r[LEASE] = until_ms
    enter(m, r)
    found[#found + 1] = m
  end
end
flush()
return answer_rows(found)
`;

export const upcoming = `
sends_on = p[4]
return pack({next_due(p[3]), now})
`;
