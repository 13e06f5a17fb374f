/** The client under test: its sources, or the module that was built of them. */

/** @type {typeof import("../src/index.js")} */
const module = await import(process.env.AIO_OPENAPI_MODULE ?? "../src/index.js");

export const { CallFailed, connect, ConnectionClosed, PositionLost, RpcError, TooSlow, UnexpectedData } = module;
