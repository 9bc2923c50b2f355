/** All routes of the API. A resource type adds its own here. */
import { backupRoutes } from './backup-routes.ts';
import { virtualMachineRoutes } from './compute/virtual-machines.ts';
import type { Route } from './frame/route.ts';
import { activityRoutes } from './holdfast/activities.ts';
import { bootRoutes } from './holdfast/boots.ts';
import { chargeRoutes } from './holdfast/charges.ts';
import { consistencyGroupRoutes } from './holdfast/consistency-groups.ts';
import { doctorRoutes } from './holdfast/doctor.ts';
import { exportRoutes } from './holdfast/exports.ts';
import { hostRoutes } from './holdfast/hosts.ts';
import { jobEventRoutes } from './holdfast/job-events.ts';
import { metricsRoutes } from './holdfast/metrics.ts';
import { heldPointRoutes } from './holdfast/held-points.ts';
import { previewRoutes } from './holdfast/preview-runs.ts';
import { pointPreviewRoutes } from './holdfast/previews.ts';
import { servicePrincipalRoutes } from './holdfast/service-principals.ts';
import { storageAccountRegistrationRoutes } from './holdfast/storage-accounts.ts';
import { vaultRepositoryRoutes } from './holdfast/vaults.ts';
import { verifyRoutes } from './holdfast/verify.ts';
import { versionRoutes } from './holdfast/version.ts';
import { vmFactRoutes } from './holdfast/virtual-machines.ts';
import { virtualNetworkRoutes } from './network/virtual-networks.ts';
import { openApiRoute } from './openapi.ts';
import { policyRoutes } from './policies/policies.ts';
import { discoveryRoutes } from './resources/discovery.ts';
import { resourceGroupRoutes } from './resources/resource-groups.ts';
import { subscriptionRoutes } from './resources/subscriptions.ts';
import { managedIdentityRoutes } from './sign-in/managed-identity.ts';
import { tokenRoutes } from './sign-in/token-endpoint.ts';
import { storageAccountRoutes } from './storage/storage-accounts.ts';
import { vaultConfigRoutes } from './vaults/vault-config.ts';
import { deletedVaultRoutes } from './vaults/deleted-vaults.ts';
import { vaultFactRoutes } from './vaults/vault-facts.ts';
import { vaultRoutes } from './vaults/vaults.ts';

const RESOURCES: readonly Route[] = [
  ...discoveryRoutes,
  ...tokenRoutes,
  ...managedIdentityRoutes,
  ...subscriptionRoutes,
  ...resourceGroupRoutes,
  ...virtualMachineRoutes,
  ...storageAccountRoutes,
  ...virtualNetworkRoutes,
  ...vaultRoutes,
  ...vaultConfigRoutes,
  ...vaultFactRoutes,
  ...deletedVaultRoutes,
  ...policyRoutes,
  ...backupRoutes,
  ...hostRoutes,
  ...vmFactRoutes,
  ...storageAccountRegistrationRoutes,
  ...vaultRepositoryRoutes,
  ...pointPreviewRoutes,
  ...heldPointRoutes,
  ...previewRoutes,
  ...chargeRoutes,
  ...servicePrincipalRoutes,
  ...jobEventRoutes,
  ...metricsRoutes,
  ...verifyRoutes,
  ...consistencyGroupRoutes,
  ...bootRoutes,
  ...exportRoutes,
  ...versionRoutes,
  ...doctorRoutes,
  ...activityRoutes,
];

export const ROUTES: readonly Route[] = [...RESOURCES, openApiRoute(RESOURCES)];
