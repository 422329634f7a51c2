/** What an error that Redis answered means for results. Nothing of the operation was done. */
import type { LovageError } from "../../kit/errors.ts";
import {
  StoreFullError,
  StoreOperationError,
  StorePolicyError,
  StoreSchemaError,
  StoreUnavailableError,
} from "../../kit/store-errors.ts";
import { isElsewhere, oneLine, replyCode } from "../../redis/failure.ts";

export function refusedResult(error: Error, url: string): LovageError {
  const said = oneLine(error.message);
  const options = { cause: error };
  if (isElsewhere(error)) return new StoreUnavailableError(`${url} is not the server to ask now: ${said}`, options);
  switch (replyCode(error)) {
    case "OOM":
      return new StoreFullError(
        `${url} is out of memory (maxmemory), and the result was not kept: give it more, or a shorter resultExpires`,
        options,
      );
    case "MISCONF":
      return new StoreUnavailableError(`${url} takes no changes because it cannot write to its disk: ${said}`, options);
    case "NOPERM":
    case "NOAUTH":
      return new StorePolicyError(
        `${url} does not let this user keep results: ${said}: allow it ~celery-task-meta-* &celery-task-meta-* +@read +@write +@scripting +@pubsub +select +ping (with the global_keyprefix, if there is one)`,
        options,
      );
    case "WRONGTYPE":
      return new StoreSchemaError(`a key of the results in ${url} belongs to another program: ${said}`, options);
    case "ERR":
      if (/max number of clients/i.test(said)) return new StoreUnavailableError(`${url} refuses us: ${said}`, options);
      return new StoreOperationError(`${url} refused the operation: ${said}`, options);
    default:
      return new StoreUnavailableError(`${url} cannot do it now: ${said}`, options);
  }
}
