/** The public API. */
export { Lovage } from "./app/app.ts";
export { AsyncResult, TaskError, TaskRevokedError } from "./app/async-result.ts";
export type { Settings, SettingsInput } from "./app/config.ts";
export { currentTask, type Fence, type RetryOptions, type TaskContext, type TaskRequest } from "./app/context.ts";
export {
  CallbackHandle,
  type CallbackOptions,
  type CallbackRef,
  type CancelWord,
  KeyTakenError,
  type ListOptions,
  type Schedule,
  TooLateError,
  UnknownCallbackError,
} from "./app/schedule.ts";
export type { ApplyOptions } from "./app/send.ts";
export { Signature, type SignatureOptions } from "./app/signature.ts";
export { type AnyHandler, type ArgsOf, type Handler, type ResultOf, Task } from "./app/task.ts";
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
export type { Callback, CallbackState } from "./schedule/callback.ts";
