/** Why a connection to the service did not come about, and what to do: in plain words where the system's code is a common one. */
import type { ServiceAddress } from './find-service.ts';

type Place = { readonly hostname: string; readonly port: string };

const unknownName = ({ hostname }: Place): string =>
  `there is no machine ${hostname}, as far as this one knows: correct the name, or its name service`;
const unreachable = ({ hostname }: Place): string =>
  `${hostname} cannot be reached: look at the network and its firewalls`;
const cut = (): string =>
  'the connection was cut: the service was stopped, or something else listens there';
const notHttps = (): string => 'what listens there does not speak https: correct the port';
const untrusted = (): string =>
  'its certificate is not of an authority that is trusted here; HOLDFAST_CA_FILE names one';

const TEXTS: Readonly<Record<string, (place: Place) => string>> = {
  CERT_HAS_EXPIRED: () =>
    'its certificate has expired: renew it, or look at the clocks of both machines',
  CERT_SIGNATURE_FAILURE: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  EAI_AGAIN: unknownName,
  ECONNREFUSED: ({ port }) =>
    `nothing listens there: start it with holdfast serve, or correct the port ${port}`,
  ECONNRESET: cut,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ENOTFOUND: unknownName,
  EPIPE: cut,
  EPROTO: notHttps,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: notHttps,
  ERR_SSL_WRONG_VERSION_NUMBER: notHttps,
  ERR_TLS_CERT_ALTNAME_INVALID: ({ hostname }) =>
    `its certificate is not for ${hostname}: use a name that it has, or have it listen at this one (holdfast serve --listen)`,
  ETIMEDOUT: unreachable,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
};

/** @param error of a request, or what caused it. */
export function troubleText(error: unknown, { url }: Pick<ServiceAddress, 'url'>): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const { hostname, port } = new URL(url);
  const text = TEXTS[code]?.({ hostname, port: port === '' ? '443' : port });
  return text ?? (error instanceof Error && error.message !== '' ? error.message : code);
}
