/** All that tests may need of the machine. A service more is a module beside this one and a row here. */
import { rabbitmq } from "./rabbitmq.ts";
import type { Service } from "./service.ts";
import { amqpTools, celery } from "./tools.ts";

export const SERVICES: readonly Service[] = [rabbitmq, celery, amqpTools];
