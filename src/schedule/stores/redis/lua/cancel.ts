/** Taking back, moving, revoking; reading one. */

export const cancel = `
limits = p[3]
local named = {}
for _, item in ipairs(p[4]) do
  if item[2] then named[#named + 1] = item[1] end
end
load(named)
local answers = {}
for i, item in ipairs(p[4]) do
  local m, r = target(item[1], item[2])
  answers[i] = r and {cancel_row(m, r, item[3]), m, r[SALT]} or false
end
finish()
return pack(answers)
`;

export const reschedule = `
local m, r = target(p[3], p[4])
if not r then return pack(false) end
if r[STATE] == SCHEDULED then
  leave(m, r)
  move(m, r, p[5] or math.min(math.max(r[DUE] + p[6], -p[7]), p[7]))
  r[TOKEN] = r[TOKEN] + 1
  enter(m, r)
  flush()
end
return pack({r[STATE], m, r[SALT], r[DUE]})
`;

export const get = `
local m, r = target(p[3], p[4])
return answer_rows(r and {m} or {})
`;

/** The rows that are still there, of those numbers. */
export const rowsOf = `
load(p[3])
local there = {}
for _, m in ipairs(p[3]) do
  if get(m) then there[#there + 1] = m end
end
return answer_rows(there)
`;

export const revoke = `
limits = p[3]
local task_id, until_ms, abort, own, salt = p[4], p[5], p[6], p[7], p[8]
if until_ms > now then call("ZADD", base .. "revoked", "GT", until_ms, task_id) end
local members = of_task(task_id)
if own then
  local m, r = target(own, salt)
  if r and not r[TASK_ID] then members[#members + 1] = m end
end
table.sort(members)
local answers = {}
for i, m in ipairs(members) do
  local r = get(m)
  local attempts = r[ATTEMPTS]
  answers[i] = {cancel_row(m, r, abort), m, r[SALT], attempts}
end
finish()
return pack(answers)
`;

export const revoked = `
local standing = {}
for i, until_ms in ipairs(call("ZMSCORE", base .. "revoked", unpack(p[3]))) do
  standing[i] = until_ms and tonumber(until_ms) > now or false
end
return pack(standing)
`;
