import assert from "node:assert/strict";
import { test } from "node:test";
import { brokersWords, connectFailure } from "../../../../src/brokers/rabbitmq/failure.ts";
import { parseRabbitmqUrl } from "../../../../src/brokers/rabbitmq/url.ts";

const url = parseRabbitmqUrl("amqp://shop:hunter2@rabbit:5672/orders");
const system = (code: string) => Object.assign(new Error(`connect ${code}`), { code });

const table: [thrown: Error, expected: RegExp][] = [
  [system("ENOTFOUND"), /host name "rabbit" is not known/],
  [system("ECONNREFUSED"), /nothing listens on rabbit:5672/],
  [new AggregateError([system("ECONNREFUSED"), system("ECONNREFUSED")], ""), /nothing listens on rabbit:5672/],
  [system("EHOSTUNREACH"), /rabbit:5672 cannot be reached/],
  [system("ECONNRESET"), /ended the connection/],
  [
    new Error('Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused"'),
    /user "shop" was refused/,
  ],
  [new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>"), /virtual host "orders"/],
  [
    new Error('Handshake terminated by server: 530 (NOT-ALLOWED) with message "NOT_ALLOWED - x"'),
    /530 NOT_ALLOWED - x/,
  ],
  [new Error("Socket closed abruptly during opening handshake"), /ended the connection/],
  [new Error("Invalid frame"), /does not speak AMQP/],
  [new Error("something\nelse"), /something else/],
];

for (const [thrown, expected] of table) {
  test(`connecting fails with ${JSON.stringify(thrown.message || "several errors")}: one line names place and remedy`, () => {
    const error = connectFailure(thrown, url);

    assert.equal(error.code, "ERR_BROKER_UNAVAILABLE");
    assert.match(error.message, expected);
    assert.ok(error.message.startsWith("cannot connect to amqp://shop:**@rabbit:5672/orders: "));
    assert.doesNotMatch(error.message, /hunter2|\n/);
    assert.equal(error.cause, thrown);
  });
}

test("what RabbitMQ says is shown without the client's wrapping", () => {
  const wrapped = new Error(
    "Operation failed: QueueDeclare; 406 (PRECONDITION-FAILED) with message \"PRECONDITION_FAILED - inequivalent arg 'durable'\"",
  );

  assert.equal(brokersWords(wrapped), "406 PRECONDITION_FAILED - inequivalent arg 'durable'");
});
