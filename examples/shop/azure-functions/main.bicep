// az deployment group create --resource-group shop --template-file main.bicep
// cargo build --profile function -p statestore-shop --bin azure-functions --no-default-features --features azure-table
// func azure functionapp publish <name> --custom, from a folder with host.json, shop/, deliveries/ and the program

param location string = resourceGroup().location
param name string = 'shop${uniqueString(resourceGroup().id)}'

// The shop's state. Nobody has a key: who uses it is known by an identity.
resource stateAccount 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: take('state${uniqueString(resourceGroup().id)}', 24)
  location: location
  sku: { name: 'Standard_ZRS' }
  kind: 'StorageV2'
  properties: {
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
  }
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
  parent: stateAccount
  name: 'default'
}

resource state 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tables
  name: 'shop'
}

// The Functions host's own account: for its code and its locks. The shop does not use it.
resource hostAccount 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: take('host${uniqueString(resourceGroup().id)}', 24)
  location: location
  sku: { name: 'Standard_LRS' }
  kind: 'StorageV2'
  properties: {
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: hostAccount
  name: 'default'
}

resource code 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'code'
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: name
  location: location
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  kind: 'functionapp'
  properties: { reserved: true }
}

resource shop 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  identity: { type: 'SystemAssigned' }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      runtime: { name: 'custom', version: '1.0' }
      scaleAndConcurrency: { instanceMemoryMB: 512, maximumInstanceCount: 40 }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostAccount.properties.primaryEndpoints.blob}code'
          authentication: { type: 'SystemAssignedIdentity' }
        }
      }
    }
    siteConfig: {
      appSettings: [
        { name: 'AzureWebJobsStorage__accountName', value: hostAccount.name }
        {
          name: 'STATESTORE_URL'
          value: 'azure-table://${stateAccount.name}/${state.name}?credential=managed-identity&retry_deadline=10s'
        }
      ]
    }
  }
}

// To read and write the entities of this one table.
resource usesState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(state.id, name, 'Storage Table Data Contributor')
  scope: state
  properties: {
    principalId: shop.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3')
  }
}

// What the Functions host asks for on its own account: Storage Blob Data Owner.
resource usesHost 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostAccount.id, name, 'Storage Blob Data Owner')
  scope: hostAccount
  properties: {
    principalId: shop.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b')
  }
}

output url string = 'https://${shop.properties.defaultHostName}'
