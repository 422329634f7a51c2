import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRabbitmqUrl } from "../../../../src/brokers/rabbitmq/url.ts";

const table: [url: string, expected: Partial<ReturnType<typeof parseRabbitmqUrl>>][] = [
  ["amqp://guest:guest@host:5672//", { vhost: "/", shown: "amqp://guest:**@host:5672//" }],
  ["amqp://", { hostname: "localhost", port: 5672, username: "guest", password: "guest", vhost: "/", tls: false }],
  ["amqp://host", { hostname: "host", vhost: "/" }],
  ["amqp://host/", { vhost: "/" }],
  ["amqp://host/%2F", { vhost: "/" }],
  ["amqp://host/shop", { vhost: "shop", shown: "amqp://guest:**@host:5672/shop" }],
  ["amqp://host//shop", { vhost: "/shop" }],
  ["amqp://host/a%20b%2Fc", { vhost: "a b/c", shown: "amqp://guest:**@host:5672/a%20b%2Fc" }],
  ["amqp://user@host", { username: "user", password: "guest" }],
  ["amqp://us%40er:p%40ss%3A%2F%23@host/v", { username: "us@er", password: "p@ss:/#" }],
  ["amqp://ključ:🐎@host", { username: "ključ", password: "🐎" }],
  ["amqps://host", { port: 5671, tls: true, shown: "amqps://guest:**@host:5671//" }],
  ["pyamqp://guest@localhost//", { hostname: "localhost", tls: false, shown: "amqp://guest:**@localhost:5672//" }],
  ["amqp://[::1]:5673", { hostname: "::1", port: 5673, shown: "amqp://guest:**@[::1]:5673//" }],
  ["amqp://host?heartbeat=10", { heartbeat: 10 }],
  ["amqp://host//?heartbeat=0", { heartbeat: 0, vhost: "/" }],
];

for (const [url, expected] of table) {
  test(`${url} is read as Celery reads it`, () => {
    const parsed = parseRabbitmqUrl(url);

    assert.deepEqual(
      Object.fromEntries(Object.keys(expected).map((key) => [key, parsed[key as keyof typeof parsed]])),
      {
        ...expected,
      },
    );
  });
}

test("a URL that cannot be right is refused in one line that says why, without its password", () => {
  const wrong = {
    "redis://h0st:hunter2@host": /scheme "redis"/,
    "http://user:hunter2@host": /scheme "http"/,
    "amqp://user:hunter2@host:port": /cannot be read/,
    "amqp://user:hun/ter2hunter2@host": /cannot be read|percent-encoded/,
    "amqp://user:hunter2@host/a#b": /"#"/,
    "amqp://user:hunter2%@host": /percent-encoded/,
    "amqp://user:hunter2@host/%ff": /virtual host/,
    "amqp://user:hunter2@host?heartbeat=soon": /heartbeat=soon/,
    "amqp://user:hunter2@host?heartbeat=99999": /heartbeat=99999/,
    "amqp://user:hunter2@host?hartbeat=9": /"hartbeat"/,
    hunter2: /cannot be read/,
    "": /cannot be read/,
  };
  for (const [url, why] of Object.entries(wrong)) {
    assert.throws(
      () => parseRabbitmqUrl(url),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, "ERR_INVALID_INPUT");
        assert.match(error.message, why, url);
        if (url.includes("@")) assert.doesNotMatch(error.message, /hunter2/, url);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  }
});
