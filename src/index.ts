/** The public API. */

export type { TaskAnnotations } from "./app/annotations.ts";
export { Lovage } from "./app/app.ts";
export { AsyncResult, type GetOptions, type ResultUpdate } from "./app/async-result.ts";
export { CallbackHandle } from "./app/callback-handle.ts";
export type { CancelAllOptions } from "./app/cancel-all.ts";
export type { Settings, SettingsInput } from "./app/config.ts";
export { currentTask, type Fence, type RetryOptions, type TaskContext, type TaskRequest } from "./app/context.ts";
export {
  type AppQuarantine,
  QuarantinedTruncatedError,
  type QuarantineFilter,
  UnknownQuarantinedError,
} from "./app/quarantined.ts";
export type { BindingOptions, ExchangeOptions, QueueOptions } from "./app/queue-options.ts";
export { RecurrenceHandle } from "./app/recurrence-handle.ts";
export type { Cron, Every, RecurrencePolicy, Recurs, RRule } from "./app/recurrence-options.ts";
export type { PreviewOptions, PreviewTime, RecurrencesOptions, RepeatOptions } from "./app/recurring.ts";
export type { Ref as CallbackRef } from "./app/refs.ts";
export type { ResultMeta } from "./app/result-meta.ts";
export { type AnyResult, GroupResult, ResultSet, type WaitOptions } from "./app/result-set.ts";
export type { RetryPolicy } from "./app/retry-policy.ts";
export type { RouteOptions, RoutePair, Router, Routes, RouteTable } from "./app/router.ts";
export type { CallbackOptions, CancelWord, MoveTo, Schedule } from "./app/schedule.ts";
export {
  KeyTakenError,
  OvertakenError,
  RecurrenceEndedError,
  TooLateError,
  UnknownCallbackError,
  UnknownRecurrenceError,
} from "./app/schedule-errors.ts";
export type { CallbackFilter, PageOptions } from "./app/schedule-find.ts";
export type { ApplyOptions } from "./app/send.ts";
export { Signature, type SignatureOptions } from "./app/signature.ts";
export { type AnyHandler, type ArgsOf, type Handler, type ResultOf, Task } from "./app/task.ts";
export { TaskError, TaskRevokedError } from "./app/task-error.ts";
export type { StandardSchema, TaskOptions } from "./app/task-options.ts";
export { Ignore, Reject, SoftTimeLimitExceeded } from "./app/task-outcomes.ts";
export type { Needs, Started, Step, StepRef } from "./blueprint/step.ts";
export type { Duration } from "./kit/duration.ts";
export {
  ContractError,
  InvalidConfigError,
  InvalidInputError,
  LostError,
  LovageError,
  OutcomeUnknownError,
  TimeoutError,
  UnavailableError,
} from "./kit/errors.ts";
export type { Moment } from "./kit/moment.ts";
export type { TaskState } from "./protocol/result.ts";
export type { Quarantined } from "./quarantine/quarantine.ts";
export type { Callback, CallbackState } from "./schedule/callback.ts";
export type { CancelCounts } from "./schedule/cancel-page.ts";
export type { ScheduleEventMap, ScheduleEventName, ScheduleEvents, ScheduleListener } from "./schedule/events.ts";
export type { Recurrence, RecurrenceState } from "./schedule/recurrence.ts";
export type { ListPage } from "./schedule/store.ts";
