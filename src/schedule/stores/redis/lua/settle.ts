/** How claimed runs ended, what is given back unstarted, whose leases are extended. The token decides, never the state alone. */
import { REASONS } from "./rules.ts";

/** The kinds of an end, as they travel. */
export const END_KINDS = ["succeeded", "failed", "stopped", "crashed", "lost", "retry"] as const;

const kind = (name: (typeof END_KINDS)[number]) => END_KINDS.indexOf(name);

const loadNamed = `
local named = {}
for i, item in ipairs(p[4]) do named[i] = item[1] end
load(named)
`;

/** An item is {number, salt, token, kind, reason}, or {…, due, task, retries, more, body, long body} for a retry. */
export const settle = `
limits = p[3]
${loadNamed}
local PLAIN = {[${kind("succeeded")}] = SUCCEEDED, [${kind("failed")}] = FAILED, [${kind("stopped")}] = STOPPED}

local function retry(m, r, due, task, retries, more, body, long)
  if is_unwanted(m, r) then
    end_row(m, r, STOPPED, {${REASONS.unwanted}})
    return
  end
  if long or r[BODY] == false then bodies[m] = long end
  r[TASK], r[RETRIES], r[MORE], r[BODY] = task, retries, more, body
  give_back(m, r, WAITING, due)
end

local answers, changed = {}, {}
for i, item in ipairs(p[4]) do
  local m, kind, text = item[1], item[4], item[5]
  local r = held(m, item[2], item[3])
  if not r then
    answers[i] = false
  elseif PLAIN[kind] then
    end_row(m, r, PLAIN[kind], text)
    answers[i] = 0
  else
    if kind == ${kind("crashed")} then
      r[CRASHES] = r[CRASHES] + 1
      meet(m, r, fate_of_crash(m, r, text))
    elseif kind == ${kind("lost")} then
      r[LOSSES] = r[LOSSES] + 1
      meet(m, r, fate_of_loss(m, r, text))
    else
      retry(m, r, text, item[6], item[7], item[8], item[9], item[10])
    end
    changed[#changed + 1] = m
    answers[i] = #changed
  end
end
finish()
return "\\147" .. pack(answers) .. pack(now) .. answer_rows(changed)
`;

export const release = `
limits = p[3]
${loadNamed}
for _, item in ipairs(p[4]) do
  local m = item[1]
  local r = held(m, item[2], item[3])
  if r then
    r[ATTEMPTS] = r[ATTEMPTS] - 1
    local state = state_of_released(m, r, is_outdated(r[OCCURRENCE]))
    if state <= WAITING then give_back(m, r, state, r[DUE]) else end_row(m, r, state) end
  end
end
finish()
return pack(true)
`;

export const renew = `
local until_ms = now + p[3]
${loadNamed}
local answers = {}
for i, item in ipairs(p[4]) do
  local m = item[1]
  local r = held(m, item[2], item[3])
  if r then
    r[LEASE] = until_ms
    enter(m, r)
  end
  answers[i] = r and until_ms or false
end
flush()
return pack(answers)
`;

/** Each request is answered once. */
export const takeAborts = `
local asked, answers = call("HGETALL", base .. "aborts"), {}
for i = 1, #asked, 2 do
  local m = asked[i]
  local r = asked[i + 1] == p[3] and get(m)
  if r then
    r[ABORT] = TOLD
    dirty[m] = true
    call("HDEL", base .. "aborts", m)
    answers[#answers + 1] = {m, r[SALT], r[TOKEN]}
  end
end
flush()
return pack(answers)
`;
