/** All that tests may need of the machine. A service more is a module beside this one and a row here. */
import { postgres } from "./postgres.ts";
import { rabbitmq } from "./rabbitmq.ts";
import { redis } from "./redis.ts";
import type { Service } from "./service.ts";
import { amqpTools, celery, pgbouncer } from "./tools.ts";

export const SERVICES: readonly Service[] = [rabbitmq, redis, postgres, celery, amqpTools, pgbouncer];
