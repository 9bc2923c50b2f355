"""Azure's own SDK for Python, as Debian's azure-cli brings it, against a running service: what test/e2e/sdk-python.test.ts
is told as JSON. Arguments: URL, subscription, client id; the secret is read from standard input."""
import json
import sys
import time

from azure.core.exceptions import HttpResponseError
from azure.core.polling import LROPoller
from azure.identity import ClientSecretCredential
from azure.mgmt.recoveryservices import RecoveryServicesClient
from azure.mgmt.recoveryservicesbackup.activestamp import RecoveryServicesBackupClient, models

url, subscription, client_id = sys.argv[1:]
GROUP, VAULT, POLL = 'lab', 'v1', {'polling_interval': 0.1}

# Debian's MSAL asks the internet about every authority but those whose tenant is called adfs.
credential = ClientSecretCredential('adfs', client_id, sys.stdin.read().strip(), authority=url)
where = {'base_url': url, 'credential_scopes': [url + '/.default']}
vaults = RecoveryServicesClient(credential, subscription, **where).vaults
backup = RecoveryServicesBackupClient(credential, subscription, **where)

group = f'/subscriptions/{subscription}/resourceGroups/{GROUP}'
plain = f'iaasvmcontainerv2;{GROUP};web'
names = (VAULT, GROUP, 'Azure', f'IaasVMContainer;{plain}', f'VM;{plain}')
vm = f'{group}/providers/Microsoft.Compute/virtualMachines/web'


def code_of(ask):
    """The code with which it is refused."""
    try:
        ask()
    except HttpResponseError as error:
        return error.error.code
    return None


def job_of(ask):
    """The job of a request without a poller, when it has ended."""
    response = ask(cls=lambda answered, *_: answered.http_response)
    operation = response.headers['Azure-AsyncOperation'].split('/')[-1].split('?')[0]
    status = backup.backup_operation_statuses.get(VAULT, GROUP, operation)
    assert status.status == 'Succeeded', status.status
    while True:
        job = backup.job_details.get(VAULT, GROUP, status.properties.job_id).properties
        if job.status != 'InProgress':
            return job
        time.sleep(0.1)


creating = vaults.begin_create_or_update(GROUP, VAULT, {'location': 'local', 'sku': {'name': 'Standard'}, 'properties': {}}, **POLL)
assert isinstance(creating, LROPoller)
created = creating.result()

protectable = [item.name for item in backup.backup_protectable_items.list(VAULT, GROUP)]
policy = backup.protection_policies.get(VAULT, GROUP, 'DefaultPolicy')
protect = models.ProtectedItemResource(properties=models.AzureIaaSComputeVMProtectedItem(
    policy_id=policy.id, source_resource_id=vm))
configured = job_of(lambda **options: backup.protected_items.create_or_update(*names, protect, **options))
request = models.BackupRequestResource(properties=models.IaasVMBackupRequest())
backed_up = job_of(lambda **options: backup.backups.trigger(*names, request, **options))
points = list(backup.recovery_points.list(*names))

restore = models.RestoreRequestResource(properties=models.IaasVMRestoreRequest(
    recovery_point_id=points[0].name, recovery_type='RestoreDisks', source_resource_id=vm, region='local',
    storage_account_id=f'{group}/providers/Microsoft.Storage/storageAccounts/sa1',
    create_new_cloud_service=False, original_storage_account_option=False))
restoring = backup.restores.begin_trigger(*names, points[0].name, restore, **POLL)
assert isinstance(restoring, LROPoller)
restoring.result()
while True:
    (restored,) = backup.backup_jobs.list(VAULT, GROUP, filter="operation eq 'Restore'")
    if restored.properties.status != 'InProgress':
        break
    time.sleep(0.1)
restored = backup.job_details.get(VAULT, GROUP, restored.name).properties

copy = backup.protection_policies.create_or_update(VAULT, GROUP, 'copy', policy)
deleting = backup.protection_policies.begin_delete(VAULT, GROUP, 'copy', **POLL)
deleting.result()
item = backup.protected_items.get(*names).properties

json.dump({
    'vault': created.properties.provisioning_state,
    'vaults': [vault.name for vault in vaults.list_by_subscription_id()],
    'protectable': protectable,
    'configured': [configured.operation, configured.status],
    'backup': [backed_up.operation, backed_up.status, [task.task_id for task in backed_up.extended_info.tasks_list]],
    'item': [type(item).__name__, item.protection_state, item.last_backup_status],
    'point': [type(points[0].properties).__name__, points[0].properties.recovery_point_type],
    'restore': [restoring.status(), restored.status],
    'files': restored.extended_info.property_bag['Restored Files'].split(', '),
    'policies': [deleting.status(), copy.name, [each.name for each in backup.backup_policies.list(VAULT, GROUP)]],
    'refused': [
        code_of(lambda: vaults.delete(GROUP, VAULT)),
        code_of(lambda: backup.protection_policies.get(VAULT, GROUP, 'none')),
        code_of(lambda: backup.recovery_points.get(*names, '123456789012345')),
    ],
}, sys.stdout)
