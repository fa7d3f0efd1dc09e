// Stands in for zarrita, which NiiVue brings to read Zarr stores over the network: this page shows volumes of its own server
// only, and 1.4 MB of decoders would lie in the package unused.
module.exports = new Proxy(
  {},
  {
    get(_, name) {
      if (name === "__esModule" || typeof name === "symbol") return undefined;
      throw new Error("Zarr stores are not read by this page");
    },
  },
);
