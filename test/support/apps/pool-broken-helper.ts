/** Where the app that cannot be loaded fails: the stack must lead here. */
export function missingSetting(name: string): never {
  throw Object.assign(new TypeError(`the shop needs ${name}\nsee its README`), { code: "ESHOP" });
}
