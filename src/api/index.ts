/** HTTP: Azure's management API and Holdfast's own in the same style, over the service. Owns all wire types. */
export { makeLog } from './serving/log.ts';
export { requireListenable } from './serving/listen-failed.ts';
export { startApi } from './serving/start-api.ts';
