/**
 * CRI v1 as a table, written by `npm run descriptors` from proto/runtime/v1/api.proto: do not edit. The mark `*` is for
 * lists, `!` for what must never be shown. `descriptors.ts` reads a line when it is asked for it.
 */
export const descriptorTable = `
R RuntimeService Version VersionRequest VersionResponse
R RuntimeService RunPodSandbox RunPodSandboxRequest RunPodSandboxResponse
R RuntimeService StopPodSandbox StopPodSandboxRequest StopPodSandboxResponse
R RuntimeService RemovePodSandbox RemovePodSandboxRequest RemovePodSandboxResponse
R RuntimeService PodSandboxStatus PodSandboxStatusRequest PodSandboxStatusResponse
R RuntimeService ListPodSandbox ListPodSandboxRequest ListPodSandboxResponse
R RuntimeService StreamPodSandboxes StreamPodSandboxesRequest StreamPodSandboxesResponse stream
R RuntimeService CreateContainer CreateContainerRequest CreateContainerResponse
R RuntimeService StartContainer StartContainerRequest StartContainerResponse
R RuntimeService StopContainer StopContainerRequest StopContainerResponse
R RuntimeService RemoveContainer RemoveContainerRequest RemoveContainerResponse
R RuntimeService ListContainers ListContainersRequest ListContainersResponse
R RuntimeService StreamContainers StreamContainersRequest StreamContainersResponse stream
R RuntimeService ContainerStatus ContainerStatusRequest ContainerStatusResponse
R RuntimeService UpdateContainerResources UpdateContainerResourcesRequest UpdateContainerResourcesResponse
R RuntimeService ReopenContainerLog ReopenContainerLogRequest ReopenContainerLogResponse
R RuntimeService ExecSync ExecSyncRequest ExecSyncResponse
R RuntimeService Exec ExecRequest ExecResponse
R RuntimeService Attach AttachRequest AttachResponse
R RuntimeService PortForward PortForwardRequest PortForwardResponse
R RuntimeService ContainerStats ContainerStatsRequest ContainerStatsResponse
R RuntimeService ListContainerStats ListContainerStatsRequest ListContainerStatsResponse
R RuntimeService StreamContainerStats StreamContainerStatsRequest StreamContainerStatsResponse stream
R RuntimeService PodSandboxStats PodSandboxStatsRequest PodSandboxStatsResponse
R RuntimeService ListPodSandboxStats ListPodSandboxStatsRequest ListPodSandboxStatsResponse
R RuntimeService StreamPodSandboxStats StreamPodSandboxStatsRequest StreamPodSandboxStatsResponse stream
R RuntimeService UpdateRuntimeConfig UpdateRuntimeConfigRequest UpdateRuntimeConfigResponse
R RuntimeService Status StatusRequest StatusResponse
R RuntimeService CheckpointContainer CheckpointContainerRequest CheckpointContainerResponse
R RuntimeService GetContainerEvents GetEventsRequest ContainerEventResponse stream
R RuntimeService ListMetricDescriptors ListMetricDescriptorsRequest ListMetricDescriptorsResponse
R RuntimeService ListPodSandboxMetrics ListPodSandboxMetricsRequest ListPodSandboxMetricsResponse
R RuntimeService StreamPodSandboxMetrics StreamPodSandboxMetricsRequest StreamPodSandboxMetricsResponse stream
R RuntimeService RuntimeConfig RuntimeConfigRequest RuntimeConfigResponse
R RuntimeService UpdatePodSandboxResources UpdatePodSandboxResourcesRequest UpdatePodSandboxResourcesResponse
R ImageService ListImages ListImagesRequest ListImagesResponse
R ImageService StreamImages StreamImagesRequest StreamImagesResponse stream
R ImageService ImageStatus ImageStatusRequest ImageStatusResponse
R ImageService PullImage PullImageRequest PullImageResponse
R ImageService RemoveImage RemoveImageRequest RemoveImageResponse
R ImageService ImageFsInfo ImageFsInfoRequest ImageFsInfoResponse
M VersionRequest version:1:string
M VersionResponse version:1:string runtime_name:2:string runtime_version:3:string runtime_api_version:4:string
M DNSConfig servers:1:string* searches:2:string* options:3:string*
M PortMapping protocol:1:Protocol container_port:2:int32 host_port:3:int32 host_ip:4:string
M Mount container_path:1:string host_path:2:string readonly:3:bool selinux_relabel:4:bool propagation:5:MountPropagation uidMappings:6:IDMapping* gidMappings:7:IDMapping* recursive_read_only:8:bool image:9:ImageSpec image_sub_path:10:string
M IDMapping host_id:1:uint32 container_id:2:uint32 length:3:uint32
M UserNamespace mode:1:NamespaceMode uids:2:IDMapping* gids:3:IDMapping*
M NamespaceOption network:1:NamespaceMode pid:2:NamespaceMode ipc:3:NamespaceMode target_id:4:string userns_options:5:UserNamespace
M Int64Value value:1:int64
M LinuxSandboxSecurityContext namespace_options:1:NamespaceOption selinux_options:2:SELinuxOption run_as_user:3:Int64Value run_as_group:8:Int64Value readonly_rootfs:4:bool supplemental_groups:5:int64* supplemental_groups_policy:11:SupplementalGroupsPolicy privileged:6:bool seccomp:9:SecurityProfile apparmor:10:SecurityProfile seccomp_profile_path:7:string
M SecurityProfile profile_type:1:SecurityProfile.ProfileType localhost_ref:2:string
E SecurityProfile.ProfileType RuntimeDefault:0 Unconfined:1 Localhost:2
M LinuxPodSandboxConfig cgroup_parent:1:string security_context:2:LinuxSandboxSecurityContext sysctls:3:map overhead:4:LinuxContainerResources resources:5:LinuxContainerResources
M PodSandboxMetadata name:1:string uid:2:string namespace:3:string attempt:4:uint32
M PodSandboxConfig metadata:1:PodSandboxMetadata hostname:2:string log_directory:3:string dns_config:4:DNSConfig port_mappings:5:PortMapping* labels:6:map annotations:7:map linux:8:LinuxPodSandboxConfig windows:9:WindowsPodSandboxConfig
M RunPodSandboxRequest config:1:PodSandboxConfig runtime_handler:2:string
M RunPodSandboxResponse pod_sandbox_id:1:string
M StopPodSandboxRequest pod_sandbox_id:1:string
M StopPodSandboxResponse
M RemovePodSandboxRequest pod_sandbox_id:1:string
M RemovePodSandboxResponse
M PodSandboxStatusRequest pod_sandbox_id:1:string verbose:2:bool
M PodIP ip:1:string
M PodSandboxNetworkStatus ip:1:string additional_ips:2:PodIP*
M Namespace options:2:NamespaceOption
M LinuxPodSandboxStatus namespaces:1:Namespace
M PodSandboxStatus id:1:string metadata:2:PodSandboxMetadata state:3:PodSandboxState created_at:4:int64 network:5:PodSandboxNetworkStatus linux:6:LinuxPodSandboxStatus labels:7:map annotations:8:map runtime_handler:9:string
M PodSandboxStatusResponse status:1:PodSandboxStatus info:2:map! containers_statuses:3:ContainerStatus* timestamp:4:int64
M PodSandboxStateValue state:1:PodSandboxState
M PodSandboxFilter id:1:string state:2:PodSandboxStateValue label_selector:3:map
M ListPodSandboxRequest filter:1:PodSandboxFilter
M PodSandbox id:1:string metadata:2:PodSandboxMetadata state:3:PodSandboxState created_at:4:int64 labels:5:map annotations:6:map runtime_handler:7:string
M ListPodSandboxResponse items:1:PodSandbox*
M StreamPodSandboxesRequest filter:1:PodSandboxFilter
M StreamPodSandboxesResponse pod_sandboxes:1:PodSandbox*
M PodSandboxStatsRequest pod_sandbox_id:1:string
M PodSandboxStatsResponse stats:1:PodSandboxStats
M PodSandboxStatsFilter id:1:string label_selector:2:map
M ListPodSandboxStatsRequest filter:1:PodSandboxStatsFilter
M ListPodSandboxStatsResponse stats:1:PodSandboxStats*
M StreamPodSandboxStatsRequest filter:1:PodSandboxStatsFilter
M StreamPodSandboxStatsResponse pod_sandbox_stats:1:PodSandboxStats*
M PodSandboxAttributes id:1:string metadata:2:PodSandboxMetadata labels:3:map annotations:4:map
M PodSandboxStats attributes:1:PodSandboxAttributes linux:2:LinuxPodSandboxStats windows:3:WindowsPodSandboxStats
M LinuxPodSandboxStats cpu:1:CpuUsage memory:2:MemoryUsage network:3:NetworkUsage process:4:ProcessUsage containers:5:ContainerStats* io:6:IoUsage
M WindowsPodSandboxStats cpu:1:WindowsCpuUsage memory:2:WindowsMemoryUsage network:3:WindowsNetworkUsage process:4:WindowsProcessUsage containers:5:WindowsContainerStats*
M NetworkUsage timestamp:1:int64 default_interface:2:NetworkInterfaceUsage interfaces:3:NetworkInterfaceUsage*
M WindowsNetworkUsage timestamp:1:int64 default_interface:2:WindowsNetworkInterfaceUsage interfaces:3:WindowsNetworkInterfaceUsage*
M NetworkInterfaceUsage name:1:string rx_bytes:2:UInt64Value rx_errors:3:UInt64Value tx_bytes:4:UInt64Value tx_errors:5:UInt64Value
M WindowsNetworkInterfaceUsage name:1:string rx_bytes:2:UInt64Value rx_packets_dropped:3:UInt64Value tx_bytes:4:UInt64Value tx_packets_dropped:5:UInt64Value
M ProcessUsage timestamp:1:int64 process_count:2:UInt64Value
M WindowsProcessUsage timestamp:1:int64 process_count:2:UInt64Value
M ImageSpec image:1:string annotations:2:map user_specified_image:18:string runtime_handler:19:string image_ref:20:string
M KeyValue key:1:string value:2:bytes!
M LinuxContainerResources cpu_period:1:int64 cpu_quota:2:int64 cpu_shares:3:int64 memory_limit_in_bytes:4:int64 oom_score_adj:5:int64 cpuset_cpus:6:string cpuset_mems:7:string hugepage_limits:8:HugepageLimit* unified:9:map memory_swap_limit_in_bytes:10:int64
M HugepageLimit page_size:1:string limit:2:uint64
M SELinuxOption user:1:string role:2:string type:3:string level:4:string
M Capability add_capabilities:1:string* drop_capabilities:2:string* add_ambient_capabilities:3:string*
M LinuxContainerSecurityContext capabilities:1:Capability privileged:2:bool namespace_options:3:NamespaceOption selinux_options:4:SELinuxOption run_as_user:5:Int64Value run_as_group:12:Int64Value run_as_username:6:string readonly_rootfs:7:bool supplemental_groups:8:int64* supplemental_groups_policy:17:SupplementalGroupsPolicy no_new_privs:11:bool masked_paths:13:string* readonly_paths:14:string* seccomp:15:SecurityProfile apparmor:16:SecurityProfile apparmor_profile:9:string seccomp_profile_path:10:string
M LinuxContainerConfig resources:1:LinuxContainerResources security_context:2:LinuxContainerSecurityContext
M LinuxContainerUser uid:1:int64 gid:2:int64 supplemental_groups:3:int64*
M WindowsNamespaceOption network:1:NamespaceMode
M WindowsSandboxSecurityContext run_as_username:1:string credential_spec:2:string! host_process:3:bool namespace_options:4:WindowsNamespaceOption
M WindowsPodSandboxConfig security_context:1:WindowsSandboxSecurityContext
M WindowsContainerSecurityContext run_as_username:1:string credential_spec:2:string! host_process:3:bool
M WindowsContainerConfig resources:1:WindowsContainerResources security_context:2:WindowsContainerSecurityContext
M WindowsContainerResources cpu_shares:1:int64 cpu_count:2:int64 cpu_maximum:3:int64 memory_limit_in_bytes:4:int64 rootfs_size_in_bytes:5:int64 affinity_cpus:6:WindowsCpuGroupAffinity*
M WindowsCpuGroupAffinity cpu_mask:1:uint64 cpu_group:2:uint32
M ContainerMetadata name:1:string attempt:2:uint32
M Device container_path:1:string host_path:2:string permissions:3:string
M CDIDevice name:1:string
M ContainerConfig metadata:1:ContainerMetadata image:2:ImageSpec command:3:string*! args:4:string*! working_dir:5:string envs:6:KeyValue* mounts:7:Mount* devices:8:Device* labels:9:map annotations:10:map log_path:11:string stdin:12:bool stdin_once:13:bool tty:14:bool linux:15:LinuxContainerConfig windows:16:WindowsContainerConfig CDI_devices:17:CDIDevice* stop_signal:18:Signal
M CreateContainerRequest pod_sandbox_id:1:string config:2:ContainerConfig sandbox_config:3:PodSandboxConfig
M CreateContainerResponse container_id:1:string
M StartContainerRequest container_id:1:string
M StartContainerResponse
M StopContainerRequest container_id:1:string timeout:2:int64
M StopContainerResponse
M RemoveContainerRequest container_id:1:string
M RemoveContainerResponse
M ContainerStateValue state:1:ContainerState
M ContainerFilter id:1:string state:2:ContainerStateValue pod_sandbox_id:3:string label_selector:4:map
M ListContainersRequest filter:1:ContainerFilter
M Container id:1:string pod_sandbox_id:2:string metadata:3:ContainerMetadata image:4:ImageSpec image_ref:5:string state:6:ContainerState created_at:7:int64 labels:8:map annotations:9:map image_id:10:string
M ListContainersResponse containers:1:Container*
M StreamContainersRequest filter:1:ContainerFilter
M StreamContainersResponse containers:1:Container*
M ContainerStatusRequest container_id:1:string verbose:2:bool
M ContainerStatus id:1:string metadata:2:ContainerMetadata state:3:ContainerState created_at:4:int64 started_at:5:int64 finished_at:6:int64 exit_code:7:int32 image:8:ImageSpec image_ref:9:string reason:10:string message:11:string labels:12:map annotations:13:map mounts:14:Mount* log_path:15:string resources:16:ContainerResources image_id:17:string user:18:ContainerUser stop_signal:19:Signal
M ContainerStatusResponse status:1:ContainerStatus info:2:map!
M ContainerResources linux:1:LinuxContainerResources windows:2:WindowsContainerResources
M ContainerUser linux:1:LinuxContainerUser
M UpdateContainerResourcesRequest container_id:1:string linux:2:LinuxContainerResources windows:3:WindowsContainerResources annotations:4:map
M UpdateContainerResourcesResponse
M ExecSyncRequest container_id:1:string cmd:2:string*! timeout:3:int64
M ExecSyncResponse stdout:1:bytes! stderr:2:bytes! exit_code:3:int32
M ExecRequest container_id:1:string cmd:2:string*! tty:3:bool stdin:4:bool stdout:5:bool stderr:6:bool
M ExecResponse url:1:string!
M AttachRequest container_id:1:string stdin:2:bool tty:3:bool stdout:4:bool stderr:5:bool
M AttachResponse url:1:string!
M PortForwardRequest pod_sandbox_id:1:string port:2:int32*
M PortForwardResponse url:1:string!
M ImageFilter image:1:ImageSpec
M ListImagesRequest filter:1:ImageFilter
M Image id:1:string repo_tags:2:string* repo_digests:3:string* size:4:uint64 uid:5:Int64Value username:6:string spec:7:ImageSpec pinned:8:bool
M ListImagesResponse images:1:Image*
M StreamImagesRequest filter:1:ImageFilter
M StreamImagesResponse images:1:Image*
M ImageStatusRequest image:1:ImageSpec verbose:2:bool
M ImageStatusResponse image:1:Image info:2:map!
M AuthConfig username:1:string! password:2:string! auth:3:string! server_address:4:string identity_token:5:string! registry_token:6:string!
M PullImageRequest image:1:ImageSpec auth:2:AuthConfig sandbox_config:3:PodSandboxConfig
M PullImageResponse image_ref:1:string
M RemoveImageRequest image:1:ImageSpec
M RemoveImageResponse
M NetworkConfig pod_cidr:1:string
M RuntimeConfig network_config:1:NetworkConfig
M UpdateRuntimeConfigRequest runtime_config:1:RuntimeConfig
M UpdateRuntimeConfigResponse
M RuntimeCondition type:1:string status:2:bool reason:3:string message:4:string
M RuntimeStatus conditions:1:RuntimeCondition*
M StatusRequest verbose:1:bool
M RuntimeHandlerFeatures recursive_read_only_mounts:1:bool user_namespaces:2:bool
M RuntimeHandler name:1:string features:2:RuntimeHandlerFeatures
M RuntimeFeatures supplemental_groups_policy:1:bool user_namespaces_host_network:2:bool
M StatusResponse status:1:RuntimeStatus info:2:map! runtime_handlers:3:RuntimeHandler* features:4:RuntimeFeatures
M ImageFsInfoRequest
M UInt64Value value:1:uint64
M FilesystemIdentifier mountpoint:1:string
M FilesystemUsage timestamp:1:int64 fs_id:2:FilesystemIdentifier used_bytes:3:UInt64Value inodes_used:4:UInt64Value
M WindowsFilesystemUsage timestamp:1:int64 fs_id:2:FilesystemIdentifier used_bytes:3:UInt64Value
M ImageFsInfoResponse image_filesystems:1:FilesystemUsage* container_filesystems:2:FilesystemUsage*
M ContainerStatsRequest container_id:1:string
M ContainerStatsResponse stats:1:ContainerStats
M ListContainerStatsRequest filter:1:ContainerStatsFilter
M ContainerStatsFilter id:1:string pod_sandbox_id:2:string label_selector:3:map
M ListContainerStatsResponse stats:1:ContainerStats*
M StreamContainerStatsRequest filter:1:ContainerStatsFilter
M StreamContainerStatsResponse container_stats:1:ContainerStats*
M ContainerAttributes id:1:string metadata:2:ContainerMetadata labels:3:map annotations:4:map
M ContainerStats attributes:1:ContainerAttributes cpu:2:CpuUsage memory:3:MemoryUsage writable_layer:4:FilesystemUsage swap:5:SwapUsage io:6:IoUsage
M WindowsContainerStats attributes:1:ContainerAttributes cpu:2:WindowsCpuUsage memory:3:WindowsMemoryUsage writable_layer:4:WindowsFilesystemUsage
M PsiStats Full:1:PsiData Some:2:PsiData
M PsiData Total:1:uint64 Avg10:2:double Avg60:3:double Avg300:4:double
M CpuUsage timestamp:1:int64 usage_core_nano_seconds:2:UInt64Value usage_nano_cores:3:UInt64Value psi:4:PsiStats
M WindowsCpuUsage timestamp:1:int64 usage_core_nano_seconds:2:UInt64Value usage_nano_cores:3:UInt64Value
M MemoryUsage timestamp:1:int64 working_set_bytes:2:UInt64Value available_bytes:3:UInt64Value usage_bytes:4:UInt64Value rss_bytes:5:UInt64Value page_faults:6:UInt64Value major_page_faults:7:UInt64Value psi:8:PsiStats
M IoUsage timestamp:1:int64 psi:2:PsiStats
M SwapUsage timestamp:1:int64 swap_available_bytes:2:UInt64Value swap_usage_bytes:3:UInt64Value
M WindowsMemoryUsage timestamp:1:int64 working_set_bytes:2:UInt64Value available_bytes:3:UInt64Value page_faults:4:UInt64Value commit_memory_bytes:5:UInt64Value
M ReopenContainerLogRequest container_id:1:string
M ReopenContainerLogResponse
M CheckpointContainerRequest container_id:1:string location:2:string timeout:3:int64
M CheckpointContainerResponse
M GetEventsRequest
M ContainerEventResponse container_id:1:string container_event_type:2:ContainerEventType created_at:3:int64 pod_sandbox_status:4:PodSandboxStatus containers_statuses:5:ContainerStatus*
M ListMetricDescriptorsRequest
M ListMetricDescriptorsResponse descriptors:1:MetricDescriptor*
M MetricDescriptor name:1:string help:2:string label_keys:3:string*
M ListPodSandboxMetricsRequest
M ListPodSandboxMetricsResponse pod_metrics:1:PodSandboxMetrics*
M StreamPodSandboxMetricsRequest
M StreamPodSandboxMetricsResponse pod_sandbox_metrics:1:PodSandboxMetrics*
M PodSandboxMetrics pod_sandbox_id:1:string metrics:2:Metric* container_metrics:3:ContainerMetrics*
M ContainerMetrics container_id:1:string metrics:2:Metric*
M Metric name:1:string timestamp:2:int64 metric_type:3:MetricType label_values:4:string* value:5:UInt64Value
M RuntimeConfigRequest
M RuntimeConfigResponse linux:1:LinuxRuntimeConfiguration
M LinuxRuntimeConfiguration cgroup_driver:1:CgroupDriver
M UpdatePodSandboxResourcesRequest pod_sandbox_id:1:string overhead:2:LinuxContainerResources resources:3:LinuxContainerResources
M UpdatePodSandboxResourcesResponse
E Protocol TCP:0 UDP:1 SCTP:2
E MountPropagation PROPAGATION_PRIVATE:0 PROPAGATION_HOST_TO_CONTAINER:1 PROPAGATION_BIDIRECTIONAL:2
E NamespaceMode POD:0 CONTAINER:1 NODE:2 TARGET:3
E SupplementalGroupsPolicy Merge:0 Strict:1
E PodSandboxState SANDBOX_READY:0 SANDBOX_NOTREADY:1
E Signal RUNTIME_DEFAULT:0 SIGABRT:1 SIGALRM:2 SIGBUS:3 SIGCHLD:4 SIGCLD:5 SIGCONT:6 SIGFPE:7 SIGHUP:8 SIGILL:9 SIGINT:10 SIGIO:11 SIGIOT:12 SIGKILL:13 SIGPIPE:14 SIGPOLL:15 SIGPROF:16 SIGPWR:17 SIGQUIT:18 SIGSEGV:19 SIGSTKFLT:20 SIGSTOP:21 SIGSYS:22 SIGTERM:23 SIGTRAP:24 SIGTSTP:25 SIGTTIN:26 SIGTTOU:27 SIGURG:28 SIGUSR1:29 SIGUSR2:30 SIGVTALRM:31 SIGWINCH:32 SIGXCPU:33 SIGXFSZ:34 SIGRTMIN:35 SIGRTMINPLUS1:36 SIGRTMINPLUS2:37 SIGRTMINPLUS3:38 SIGRTMINPLUS4:39 SIGRTMINPLUS5:40 SIGRTMINPLUS6:41 SIGRTMINPLUS7:42 SIGRTMINPLUS8:43 SIGRTMINPLUS9:44 SIGRTMINPLUS10:45 SIGRTMINPLUS11:46 SIGRTMINPLUS12:47 SIGRTMINPLUS13:48 SIGRTMINPLUS14:49 SIGRTMINPLUS15:50 SIGRTMAXMINUS14:51 SIGRTMAXMINUS13:52 SIGRTMAXMINUS12:53 SIGRTMAXMINUS11:54 SIGRTMAXMINUS10:55 SIGRTMAXMINUS9:56 SIGRTMAXMINUS8:57 SIGRTMAXMINUS7:58 SIGRTMAXMINUS6:59 SIGRTMAXMINUS5:60 SIGRTMAXMINUS4:61 SIGRTMAXMINUS3:62 SIGRTMAXMINUS2:63 SIGRTMAXMINUS1:64 SIGRTMAX:65
E ContainerState CONTAINER_CREATED:0 CONTAINER_RUNNING:1 CONTAINER_EXITED:2 CONTAINER_UNKNOWN:3
E ContainerEventType CONTAINER_CREATED_EVENT:0 CONTAINER_STARTED_EVENT:1 CONTAINER_STOPPED_EVENT:2 CONTAINER_DELETED_EVENT:3
E MetricType COUNTER:0 GAUGE:1
E CgroupDriver SYSTEMD:0 CGROUPFS:1
`;
